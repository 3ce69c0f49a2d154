package proxy

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// Whoever is not trusted does not say where a request comes from, under no name.
func TestForwardedFields(t *testing.T) {
	sent := http.Header{
		"Forwarded": {"for=203.0.113.1"}, "X-Real-Ip": {"203.0.113.1"}, "X-Forwarded-For": {"203.0.113.1", "203.0.113.2"},
		"X-Forwarded-Host": {"evil.example"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Port": {"1"},
		"X-Forwarded-Prefix": {"/evil"}, "X-Forwarded-Server": {"evil"}, "X-Forwarded-Of-Tomorrow": {"evil"},
	}
	for _, key := range []string{"k", ""} {
		check.Equal(t, forwarded(t, nil, key, sent), http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"shop.example"}, "X-Forwarded-Proto": {"http"},
		}, "what a stranger's fields become, key %q", key)

		trusted := sent.Clone()
		trusted["X-Forwarded-For"] = []string{"203.0.113.1, 203.0.113.2, 127.0.0.1"}
		check.Equal(t, forwarded(t, &Options{TrustForwarded: true}, key, sent), trusted, "what a friend's become, key %q", key)
		check.Equal(t, forwarded(t, &Options{TrustForwarded: true}, key, nil), http.Header{
			"X-Forwarded-For": {"127.0.0.1"}, "X-Forwarded-Host": {"shop.example"}, "X-Forwarded-Proto": {"http"},
		}, "what a friend's become that sends none, key %q", key)
	}
}

// Such as behind a proxy that signs people in, and says in a field of its own who they are.
func TestTheFieldOfTheScopeIsPassedOn(t *testing.T) {
	sent := http.Header{"X-Forwarded-User": {"anna"}, "X-Forwarded-Email": {"anna@example.com"}}
	got := forwarded(t, &Options{ScopeHeader: "x-forwarded-user"}, "k", sent)
	check.Equal(t, got.Values("X-Forwarded-User"), []string{"anna"}, "whose key it is")
	check.Equal(t, got.Values("X-Forwarded-Email"), []string(nil), "what else it says")
}

// forwarded is what the service gets of a header that is about where the request comes from. Each field is sent in the form
// that CGI would take for it, too.
func forwarded(t *testing.T, opts *Options, key string, header http.Header) http.Header {
	t.Helper()
	var calls atomic.Int64
	got := make(chan http.Header, 1)
	s := newSidecar(t, service(t, &calls, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }), nil, opts)
	r := s.request(t, http.MethodPost, "/orders", key, "tea")
	r.Host = "shop.example"
	for name, values := range header {
		r.Header[name] = values
		if disguise := strings.ReplaceAll(name, "-", "_"); disguise != name {
			r.Header[disguise] = values
		}
	}
	s.do(t, r)
	about := http.Header{}
	for name, values := range within(t, got, "the request") {
		if name := strings.ReplaceAll(strings.ToLower(name), "_", "-"); strings.Contains(name, "forwarded") || name == "x-real-ip" {
			about[http.CanonicalHeaderKey(name)] = append(about[http.CanonicalHeaderKey(name)], values...)
		}
	}
	return about
}
