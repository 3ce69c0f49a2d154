//go:build torture

package resources

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// service counts how often each operation runs, and answers differently each time.
type service struct {
	*httptest.Server

	size  int                          // bytes of an answer, which nothing can compress
	large int                          // of one to a key that begins with large
	hold  func(string) <-chan struct{} // what an operation waits for; nil, and a nil channel, is nothing

	mu   sync.Mutex
	runs map[string]int
}

func serviceOf(t *testing.T, size int) *service {
	t.Helper()
	s := &service{size: size, runs: map[string]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	s.mu.Lock()
	s.runs[key]++
	run := s.runs[key]
	s.mu.Unlock()
	if s.hold != nil {
		if until := s.hold(key); until != nil {
			<-until
		}
	}
	n := s.size
	if strings.HasPrefix(key, "large-") {
		n = s.large
	}
	text := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, key, run))).Read(text) // it never fails
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(text)
}

// twice is how many operations ran more than once.
func (s *service) twice() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, runs := range s.runs {
		if runs > 1 {
			n++
		}
	}
	return n
}

// ran reports how often an operation ran.
func (s *service) ran(key string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs[key]
}
