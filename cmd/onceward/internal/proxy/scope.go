package proxy

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/onceward/onceward/oncehttp"
)

// Scope says whose keys are whose.
type Scope struct {
	// Name is the text that was parsed.
	Name string
	// Header is NAME of header:NAME.
	Header string
	// Of finds the scope of a request. Its error is a *oncehttp.Problem.
	Of func(*http.Request) (string, error)
	// Note is what an operator has to know about it.
	Note string
}

// ScopeHelp explains what ParseScope reads.
const ScopeHelp = `  authorization  the Authorization header; tokens that are refreshed between two tries are two scopes
  basic-user     the user name of Basic authentication, whose password something in front has checked
  header:NAME    a header that something in front sets after it has authenticated the caller
  none           all callers share one scope: for a service with a single customer`

// ParseScope reads authorization, basic-user, header:NAME or none.
func ParseScope(text string) (Scope, error) {
	kind, name, named := strings.Cut(text, ":")
	switch {
	case text == "authorization":
		return Scope{Name: text, Of: authorization,
			Note: "a caller whose token is refreshed has another scope: a retry with the new token is a new request"}, nil
	case text == "basic-user":
		return Scope{Name: text, Of: basicUser,
			Note: "passwords are not checked here: something in front has to, because a name alone gets stored answers"}, nil
	case kind == "header" && named && fleeting(name):
		return Scope{}, fmt.Errorf("the header %s does not say whose key it is: it differs with each request, or is about the "+
			"request itself. Want one that something in front sets to the caller, such as header:X-User", name)
	case kind == "header" && named && token(name):
		return Scope{Name: text, Header: name, Of: headerScope(http.CanonicalHeaderKey(name)),
			Note: "the header " + name + " is believed: something in front has to set it, and remove what clients send"}, nil
	case text == "none":
		return Scope{Name: text, Of: oncehttp.SingleTenant,
			Note: "all callers share one scope: whoever knows a key gets its answer"}, nil
	default:
		return Scope{}, fmt.Errorf("want one of\n%s", ScopeHelp)
	}
}

func missing(detail string) error {
	return &oncehttp.Problem{Status: 400, Code: "scope-missing", Title: "It is not known whose key this is", Detail: detail}
}

// stable are the schemes whose credentials are the same for each try. There are many of the other kind, such as Digest,
// DPoP, Negotiate and all that sign the request, and new ones appear: what is not known is refused, because a retry under
// it would run again.
var stable = map[string]bool{"basic": true, "bearer": true, "token": true, "apikey": true, "api-key": true}

// authorization does not verify anything: a wrong token is merely another scope. The id is a hash of it.
func authorization(r *http.Request) (string, error) {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return "", missing("Send one Authorization header.")
	}
	scheme, credentials, _ := strings.Cut(strings.TrimSpace(values[0]), " ")
	scheme, credentials = strings.ToLower(scheme), strings.TrimSpace(credentials)
	switch {
	case scheme == "" || stable[scheme] && credentials == "":
		return "", missing("The Authorization header holds no credentials.")
	case !stable[scheme]:
		return "", &oncehttp.Problem{Status: 400, Code: "scope-unstable", Title: "It is not known whose key this is",
			Detail: "Only Basic, Bearer, Token and ApiKey are known to be the same with each request, so that a retry can be " +
				"recognised by them.",
			SafeNewKey: true}
	default:
		return scheme + " " + credentials, nil
	}
}

func basicUser(r *http.Request) (string, error) {
	user, _, ok := r.BasicAuth()
	if !ok || user == "" || len(r.Header["Authorization"]) != 1 {
		return "", missing("Send one Authorization header, of the scheme Basic, with a user name.")
	}
	return user, nil
}

func headerScope(name string) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		if values := r.Header[name]; len(values) == 1 && values[0] != "" {
			return values[0], nil
		}
		return "", missing("The request has to carry the header " + name + " once.")
	}
}

// fleeting reports whether the header field differs from one operation of a caller to the next, so that nobody's retry could
// be told from a new request.
func fleeting(name string) bool {
	name = http.CanonicalHeaderKey(name)
	for _, prefix := range []string{"Content-", "Idempotency-", "Repeatability-", "X-B3-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "Authorization": // --scope authorization knows which of them stay the same
		return true
	case "Age", "Connection", "Host", "Te", "Transfer-Encoding", "Upgrade",
		"Date", "Digest", "Dpop", "Signature", "Signature-Input", "X-Idempotency-Key",
		"Request-Id", "X-Request-Id", "Correlation-Id", "X-Correlation-Id", "X-Request-Start", "X-Amz-Date",
		"Traceparent", "Tracestate", "B3", "X-Amzn-Trace-Id", "X-Cloud-Trace-Context", "Cf-Ray":
		return true
	default:
		return false
	}
}

// token reports whether s can be the name of a header field (RFC 9110, section 5.6.2).
func token(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}
