package oncehttp

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// service is a guarded handler on a loopback port.
type service struct {
	*httptest.Server
	guard   *onceward.Guard
	runs    atomic.Int64
	handler http.Handler
	guarded atomic.Pointer[http.Handler]
}

// newService guards next, or a handler that creates something.
func newService(t *testing.T, next http.HandlerFunc, opts *Options) *service {
	t.Helper()
	guard, err := onceward.New(memstore.New(nil), nil)
	check.NoError(t, err, "guard")
	return newServiceOf(t, guard, next, opts)
}

func newServiceOf(t *testing.T, guard *onceward.Guard, next http.HandlerFunc, opts *Options) *service {
	t.Helper()
	s := &service{guard: guard}
	if next == nil {
		next = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.Path+"/1")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.Copy(w, r.Body)
		}
	}
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.runs.Add(1)
		next(w, r)
	})
	s.use(opts)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*s.guarded.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		s.Close()
		check.NoError(t, s.guard.Close(context.Background()), "closing the guard")
	})
	return s
}

// use guards the handler with other options, on the same store.
func (s *service) use(opts *Options) {
	h := New(s.guard, SingleTenant, opts)(s.handler)
	s.guarded.Store(&h)
}

type reply struct {
	*http.Response
	body string
}

func (s *service) do(t *testing.T, r *http.Request) reply {
	t.Helper()
	response, err := s.Client().Do(r)
	check.NoError(t, err, "%s %s", r.Method, r.URL.Path)
	body, err := io.ReadAll(response.Body)
	check.NoError(t, err, "the answer's body")
	check.NoError(t, response.Body.Close(), "closing the answer's body")
	return reply{response, string(body)}
}

func (s *service) request(t *testing.T, path, key, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(body))
	check.NoError(t, err, "request")
	r.Header.Set("Content-Type", "application/json")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return r
}

func (s *service) post(t *testing.T, path, key, body string) reply {
	t.Helper()
	return s.do(t, s.request(t, path, key, body))
}

// state is what the store knows of a key.
func (s *service) state(t *testing.T, path, key string) string {
	t.Helper()
	record, err := s.guard.Lookup(t.Context(), onceward.Key{Scope: "single-tenant", Operation: "POST " + path, Value: key})
	check.NoError(t, err, "looking up %s", key)
	return record.State()
}
