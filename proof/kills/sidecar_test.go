package kills

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/onceward/onceward/internal/testsvc"
)

// guarded is a service that knows nothing of keys. Its effects are counted by the paths of requests.
type guarded struct {
	*httptest.Server

	mu      sync.Mutex
	effects map[string]int
}

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	s := &guarded{effects: map[string]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := (&config{Lease: lease}).hesitate(); errors.Is(err, errNotNow) {
		http.Error(w, "not-now", http.StatusTooManyRequests) // which releases the key
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	s.mu.Lock()
	s.effects[name]++
	s.mu.Unlock()
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answerTo(name))
}

func (s *guarded) counts() (map[string]int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.effects), nil
}

// The sidecar dies at each point, in front of a service that lives on.
func TestSidecarPoints(t *testing.T) {
	program := armed(t, filepath.Join("..", "..", "cmd", "onceward"))
	for name, store := range map[string]func(t *testing.T) string{
		"disk":  func(t *testing.T) string { t.Helper(); return filepath.Join(t.TempDir(), "data") },
		"redis": func(t *testing.T) string { t.Helper(); return testsvc.Redis(t).URL },
	} {
		for _, mode := range []Mode{Hold, Rerun} {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				t.Parallel() // much of it is waiting
				service := newGuarded(t)
				p := sidecars(service, store(t), program, mode)
				p.Kills = size(12, 100)
				dieAtPoints(t, p)
			})
		}
	}
}

// sidecars is the plan for some in front of a service.
func sidecars(service *guarded, store, program string, mode Mode) plan {
	return plan{Clients: 16, Effects: service.counts, config: config{Mode: mode, Store: store, Program: program, Args: []string{
		"proxy", "--to", service.URL, "--scope", "none", "--listen", "127.0.0.1:0", "--store", store,
		"--on-crash", string(mode), "--lease", lease.String(), "--log-level", "error",
	}}}
}
