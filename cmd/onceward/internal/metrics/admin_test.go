package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// admin serves what is tested, and asks it.
type admin struct {
	*httptest.Server
	ready error
}

func newAdmin(t *testing.T) *admin {
	t.Helper()
	a := &admin{}
	a.Server = httptest.NewServer(Admin(New(), func(context.Context) error { return a.ready }))
	t.Cleanup(a.Close)
	return a
}

type reply struct {
	status int
	header http.Header
	body   string
}

func (a *admin) ask(t *testing.T, method, path, host string) reply {
	t.Helper()
	r, err := http.NewRequest(method, a.URL+path, nil)
	check.NoError(t, err, "request")
	r.Host = host
	res, err := a.Client().Do(r)
	check.NoError(t, err, "%s %s", method, path)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	check.NoError(t, err, "the answer")
	return reply{res.StatusCode, res.Header, string(body)}
}

func TestAdminAnswers(t *testing.T) {
	a := newAdmin(t)
	outage := fmt.Errorf("dial canary.internal: %w", errors.New("refused"))
	for _, c := range []struct {
		method, path string
		ready        error
		status       int
		body         string
	}{
		{"GET", "/healthz", outage, 200, "ok\n"},
		{"GET", "/readyz", nil, 200, "ready\n"},
		{"GET", "/readyz", outage, 503, "store unavailable\n"},
		{"GET", "/readyz", fmt.Errorf("canary: %w", ErrDraining), 503, "draining\n"},
		{"HEAD", "/readyz", nil, 200, ""},
		{"POST", "/readyz", nil, 405, "use GET\n"},
		{"GET", "/", nil, 404, "there is /healthz, /readyz and /metrics\n"},
		{"GET", "/metrics/", nil, 404, "there is /healthz, /readyz and /metrics\n"},
		{"GET", "/x/../healthz", nil, 404, "there is /healthz, /readyz and /metrics\n"},
		{"GET", "/debug/pprof/", nil, 404, "there is /healthz, /readyz and /metrics\n"},
	} {
		a.ready = c.ready
		got := a.ask(t, c.method, c.path, "")
		check.Equal(t, got.status, c.status, "%s %s", c.method, c.path)
		check.Equal(t, got.body, c.body, "%s %s", c.method, c.path)
	}
	got := a.ask(t, "GET", "/metrics", "")
	check.Equal(t, got.status, 200, "/metrics")
	for _, name := range []string{"onceward_transitions_total", "go_goroutines", "process_open_fds"} {
		check.True(t, strings.Contains(got.body, "\n"+name), "no %s", name)
	}
}

func TestAdminAnswersLoopbackHostsOnly(t *testing.T) {
	a := newAdmin(t)
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:9090": 200, "127.0.0.1:9090": 200, "127.1.2.3": 200, "[::1]:9090": 200, "[::1]": 200,
		"evil.example": 403, "localhost.evil.example:9090": 403, "127.0.0.1.evil.example": 403, "10.0.0.1:9090": 403,
		"[2001:db8::1]:9090": 403, "0.0.0.0": 403,
	} {
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			got := a.ask(t, "GET", path, host)
			check.Equal(t, got.status, want, "%s by %s", path, host)
			check.True(t, want == 200 || !strings.Contains(got.body, "onceward_"), "metrics for %s:\n%s", host, got.body)
		}
	}
}

func TestAdminAnswersAreNotKept(t *testing.T) {
	a := newAdmin(t)
	for path, host := range map[string]string{"/healthz": "", "/readyz": "", "/metrics": "", "/nothing": "", "/": "evil.example"} {
		got := a.ask(t, "GET", path, host)
		check.Equal(t, got.header.Get("Cache-Control"), "no-store", "%s: Cache-Control", path)
		check.Equal(t, got.header.Get("X-Content-Type-Options"), "nosniff", "%s: nosniff", path)
		kind := got.header.Get("Content-Type")
		check.True(t, strings.HasPrefix(kind, "text/plain"), "%s: %q", path, kind)
	}
}
