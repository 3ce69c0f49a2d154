package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// text is what a process has written so far.
type text struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *text) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

func (s *text) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

var adminLine = regexp.MustCompile(`admin=(http://\S+)`)

// admin is where the process says that it can be watched.
func (p *process) admin(t *testing.T) string {
	t.Helper()
	for late := time.Now().Add(10 * time.Second); time.Now().Before(late); { // the log has a pipe of its own
		if match := adminLine.FindStringSubmatch(p.errs.String()); match != nil {
			return match[1]
		}
	}
	t.Fatalf("no admin address in %s", &p.errs)
	return ""
}

// get returns the status and the body, or 0 if nobody answers.
func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	check.NoError(t, err, "request")
	response, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	check.NoError(t, err, "the answer of %s", url)
	return response.StatusCode, string(all)
}

func TestWhoWatchesSeesWhatHappens(t *testing.T) {
	entered, release := make(chan struct{}, 2), make(chan struct{})
	s := newShop(t, entered, release)
	p := s.guard(t, t.TempDir(), "--admin", "127.0.0.1:0")
	admin := p.admin(t)
	status, body := get(t, admin+"/readyz")
	check.Equal(t, status, http.StatusOK, "status of a process that is ready, which says %s", body)

	answered := make(chan reply, 1)
	go func() {
		got, _ := send(t.Context(), p.base, "/orders", "canary-key")
		answered <- got
	}()
	<-entered
	_, _ = send(t.Context(), p.base, "/orders", "canary-key")
	_, body = get(t, admin+"/metrics")
	for _, line := range []string{`onceward_refusals_total{code="in-progress"} 1`, "onceward_attempts_running 1"} {
		check.True(t, strings.Contains(body, "\n"+line+"\n"), "no %s in\n%s", line, body)
	}
	check.True(t, !strings.Contains(body, "canary") && !strings.Contains(body, "/orders"), "a key or a path in\n%s", body)

	check.NoError(t, p.Process.Signal(syscall.SIGTERM), "SIGTERM")
	for status, body = get(t, admin+"/readyz"); status == http.StatusOK; { // the test's own deadline bounds it
		status, body = get(t, admin+"/readyz")
	}
	check.Equal(t, body, "draining\n", "what a process says that ends")
	status, _ = get(t, admin+"/healthz")
	check.Equal(t, status, http.StatusOK, "status of its health")
	close(release)
	check.Equal(t, (<-answered).status, http.StatusCreated, "the answer of what ran")
	check.NoError(t, <-p.exited, "its end, after %s", &p.errs)
}

// What is not guarded does not keep the process from ending.
func TestStreamsAreCutOffAtTheEnd(t *testing.T) {
	flowing, gone := make(chan struct{}), make(chan struct{})
	stream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		close(flowing)
		<-r.Context().Done()
		close(gone)
	}))
	t.Cleanup(stream.Close)
	s := &shop{Server: stream}
	p := s.guard(t, t.TempDir(), "--drain", "10ms")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.base+"/events", nil)
	check.NoError(t, err, "request")
	response, err := client.Do(r)
	check.NoError(t, err, "opening the stream")
	defer response.Body.Close()
	first := make([]byte, len("data: 1\n\n"))
	_, err = io.ReadFull(response.Body, first)
	check.NoError(t, err, "the first event, while the stream goes on")
	<-flowing
	check.NoError(t, p.Process.Signal(syscall.SIGTERM), "SIGTERM")
	select {
	case err = <-p.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("a stream keeps it from ending")
	}
	check.NoError(t, err, "its end, after %s", &p.errs)
	<-gone
}
