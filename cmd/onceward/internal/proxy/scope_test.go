package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/oncehttp"
)

func TestScopes(t *testing.T) {
	header := func(lines ...string) http.Header {
		h := http.Header{}
		for _, line := range lines {
			name, value, _ := strings.Cut(line, ": ")
			h.Add(name, value)
		}
		return h
	}
	basic := func(user, password string) http.Header {
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header
	}
	const missing, unstable = "400 scope-missing", "400 scope-unstable"
	for _, c := range [...]struct {
		scope  string
		header http.Header
		want   string
	}{
		{"authorization", header("Authorization: Bearer abc"), "bearer abc"},
		{"authorization", header("Authorization: bearer  abc"), "bearer abc"},
		{"authorization", header("Authorization: Bearer ABC"), "bearer ABC"},
		{"authorization", header(), missing},
		{"authorization", header("Authorization: "), missing},
		{"authorization", header("Authorization: Bearer "), missing},
		{"authorization", header("Authorization: Bearer a", "Authorization: Bearer b"), missing},
		{"authorization", header("Authorization: AWS4-HMAC-SHA256 Credential=a"), unstable},
		{"authorization", header("Authorization: OAuth oauth_nonce=a"), unstable},
		{"authorization", header("Authorization: DIGEST username=a"), unstable},
		{"authorization", header("Authorization: DPoP abc"), unstable},
		{"authorization", header("Authorization: Hawk id=a"), unstable},
		{"authorization", header("Authorization: Signature keyId=a"), unstable},
		{"authorization", header("Authorization: Negotiate YII"), unstable},
		{"authorization", header("Authorization: of-tomorrow abc"), unstable},
		{"authorization", header("Authorization: ApiKey abc"), "apikey abc"},
		{"basic-user", basic("ann", "old"), "ann"},
		{"basic-user", basic("ann", "new"), "ann"},
		{"basic-user", basic("", "x"), missing},
		{"basic-user", header("Authorization: Bearer abc"), missing},
		{"basic-user", header(), missing},
		{"header:x-user", header("X-User: ann"), "ann"},
		{"header:x-user", header("X-User: "), missing},
		{"header:x-user", header("X-User: ann", "X-User: bob"), missing},
		{"header:x-user", header(), missing},
		{"none", header(), "single-tenant"},
	} {
		scope, err := ParseScope(c.scope)
		check.NoError(t, err, "%s", c.scope)
		check.True(t, scope.Note != "", "%s: an operator is told nothing", c.scope)
		got, err := scope.Of(&http.Request{Header: c.header})
		var problem *oncehttp.Problem
		if errors.As(err, &problem) {
			got = fmt.Sprint(problem.Status, " ", problem.Code)
		}
		check.Equal(t, got, c.want, "%s of %v", c.scope, c.header)
	}
}

func TestHeadersThatDoNotNameACallerAreRefused(t *testing.T) {
	for _, name := range []string{
		"Idempotency-Key", "x-idempotency-key", "idempotency-fence", "date", "Content-Length", "content-digest", "TraceParent",
		"X-Request-ID", "x-b3-traceid",
	} {
		_, err := ParseScope("header:" + name)
		check.True(t, err != nil && strings.Contains(err.Error(), name) && strings.Contains(err.Error(), "header:X-User"), "%s: %v", name, err)
	}
	for _, name := range []string{"X-User", "Contents", "X-Tenant-Id"} {
		_, err := ParseScope("header:" + name)
		check.NoError(t, err, "%s", name)
	}
}

func TestWrongScopesAreExplained(t *testing.T) {
	for _, text := range []string{"", "ip", "header", "header:", "header:a b", "header:a:b", "Authorization"} {
		_, err := ParseScope(text)
		check.True(t, err != nil && strings.Contains(err.Error(), ScopeHelp), "%q: %v", text, err)
	}
}
