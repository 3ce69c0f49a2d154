package oncetest_test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/onceward/onceward/oncetest"
)

// recorder is a testing.TB that remembers what failed. Twice needs no more of it.
type recorder struct {
	testing.TB

	failures []string
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// failuresOf runs Twice on the service and returns what it found.
func failuresOf(handler http.Handler, request *http.Request, opts *oncetest.Options) []string {
	r := new(recorder)
	oncetest.Twice(r, handler, request, opts)
	return r.failures
}

func payment() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/payments?currency=EUR", strings.NewReader(`{"amount": 12}`))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// service carries a payment out once for each key. The twins are services of which one step is replaced.
type service struct {
	mu    sync.Mutex
	known map[string]*outcome
	paid  atomic.Int64
	seen  []string // keys, in the order of first requests

	pay    func(w http.ResponseWriter, r *http.Request)
	begin  func(key string) (o *outcome, mine bool)
	finish func(r *http.Request, key string, o *outcome)
	replay func(w http.ResponseWriter, o outcome)
}

// outcome is how a payment ended. It is nil in service.known while that is in progress.
type outcome struct {
	status          int
	header, trailer http.Header
	body            string
}

func newService() *service {
	s := &service{known: make(map[string]*outcome)}
	s.pay, s.begin, s.finish, s.replay = s.payOnce, s.beginOnce, s.store, replayMarked
	return s
}

func (s *service) effects() int { return int(s.paid.Load()) }

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	o, mine := s.begin(key)
	switch {
	case mine:
		recorded := httptest.NewRecorder()
		s.pay(recorded, r)
		result := recorded.Result()
		o = &outcome{result.StatusCode, result.Header, result.Trailer, recorded.Body.String()}
		s.finish(r, key, o)
		o.writeTo(w)
	case o != nil:
		s.replay(w, *o)
	default:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusConflict)
	}
}

func (s *service) payOnce(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	n := s.paid.Add(1)
	w.Header().Set("Location", fmt.Sprintf("/payments/%d", n))
	w.Header().Set("Set-Cookie", "session="+r.Header.Get("Idempotency-Key"))
	w.Header().Set("Trailer", "Checksum")
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "payment %d: %s", n, body)
	w.Header().Set("Checksum", "c-"+string(body))
}

func (s *service) beginOnce(key string) (*outcome, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o, known := s.known[key]; known {
		return o, false
	}
	s.known[key] = nil
	s.seen = append(s.seen, key)
	return nil, true
}

func (s *service) store(_ *http.Request, key string, o *outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known[key] = o
}

func (s *service) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, key)
}

func replayMarked(w http.ResponseWriter, o outcome) {
	w.Header().Set("Idempotent-Replayed", "true")
	o.header = o.header.Clone()
	o.header.Del("Set-Cookie")
	o.writeTo(w)
}

func (o *outcome) writeTo(w http.ResponseWriter) {
	maps.Copy(w.Header(), o.header)
	w.WriteHeader(o.status)
	_, _ = io.WriteString(w, o.body)
	maps.Copy(w.Header(), o.trailer)
}
