package oncehttp

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/onceward/onceward"
)

// admit finds out which key of whom the request carries, and refuses what can be refused without its body.
func (x *exchange) admit() error {
	if names(x.r.Header["Connection"], x.Header) {
		// A proxy on the way would have to drop the key, and the next one to run the request without it.
		return problemKeyHop
	}
	if x.r.URL.Opaque != "" || x.r.URL.Path == "*" {
		return problemTarget
	}
	var err error
	if values := x.r.Header[x.Header]; len(values) == 0 && x.Keys == Derived {
		x.derived = true
	} else if x.key.Value, err = ParseKey(values); err != nil {
		return err
	}
	x.key.Operation = x.r.Method + " " + x.r.URL.EscapedPath()
	if x.key.Scope, err = x.scope(x.r); err != nil {
		return scopeProblem(err)
	}
	if x.key.Scope == "" {
		return scopeProblem(errEmptyScope)
	}
	x.key.Route, x.key.Host = x.r.Pattern, x.r.Host
	x.key.TraceID = traceID(x.r.Header["Traceparent"])
	if x.entered = x.scopes.enter(x.key.Scope); !x.entered {
		return problemTooManyKeys
	}
	if !x.IgnorePrefer {
		x.wait = min(preferredWait(x.r.Header["Prefer"]), x.MaxWait)
	}
	return nil
}

var errEmptyScope = errors.New("the scope function returned an empty scope")

// scopeProblem tells the client nothing of err; the guard's log has it.
func scopeProblem(err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return &scopeError{problemScopeMissing, err}
}

// scopeError is what the client is told, and what the guard's log is told besides.
type scopeError struct {
	*Problem

	cause error
}

func (e *scopeError) Unwrap() error { return e.Problem }

// policyFor is the policy of this request.
func (x *exchange) policyFor() *onceward.Policy {
	base := x.Policy
	if x.derived {
		base = x.derivedPolicy
	}
	if x.wait == 0 {
		return base
	}
	var p onceward.Policy
	if base != nil {
		p = *base
	}
	p.Wait = x.wait
	return &p
}

// late reports whether the key is so old that its record may be gone. A key that does not tell its age never is.
func (x *exchange) late() bool {
	if x.KeyMaxAge == 0 {
		return false
	}
	made, ok := keyTime(x.key.Value)
	if !ok {
		t, err := http.ParseTime(x.r.Header.Get("Repeatability-First-Sent"))
		if err != nil {
			return false
		}
		made = t
	}
	most := x.KeyMaxAge
	if x.derived {
		most = min(most, max(x.DerivedRetention-keyAgeMargin, 0))
	}
	return time.Since(made) > most
}

// preferredWait is the wait of a Prefer header (RFC 7240, section 4.3), 0 if there is none. The first one counts.
func preferredWait(values []string) time.Duration {
	for _, value := range values {
		for preference := range strings.SplitSeq(value, ",") {
			preference, _, _ = strings.Cut(preference, ";")
			name, number, _ := strings.Cut(preference, "=")
			if !strings.EqualFold(strings.TrimSpace(name), "wait") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(strings.TrimSpace(number), `"`), 10, 31)
			if err != nil {
				return 0
			}
			return time.Duration(seconds) * time.Second
		}
	}
	return 0
}

// names reports whether one of the comma-separated values is name.
func names(values []string, name string) bool {
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(element), name) {
				return true
			}
		}
	}
	return false
}

// scopes counts the guarded requests that each scope has in this process.
type scopes struct {
	most int // 0 means no bound

	mu sync.Mutex
	by map[string]int
}

// enter reports whether there is room for one more.
func (s *scopes) enter(scope string) bool {
	if s.most == 0 {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[scope] >= s.most {
		return false
	}
	s.by[scope]++
	return true
}

func (s *scopes) leave(scope string) {
	if s.most == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[scope]--; s.by[scope] == 0 {
		delete(s.by, scope)
	}
}
