package proxy

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// What could go on for ever ends, whatever it waits for, and a guarded request comes to its end.
func TestEndUnguarded(t *testing.T) {
	var calls atomic.Int64
	entered, left, leave := make(chan string, 8), make(chan string, 8), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(leave) })
	defer goOn()
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, r *http.Request) {
		defer func() { left <- r.URL.Path }()
		control := http.NewResponseController(w)
		if r.URL.Path == "/download" { // which nobody takes: it has begun once nothing fits into any buffer
			_ = control.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
			_ = endless(w)
		}
		entered <- r.URL.Path
		switch r.URL.Path {
		case "/guarded":
			<-leave
			w.WriteHeader(http.StatusCreated)
		case "/events":
			_, _ = io.WriteString(w, "data: one\n\n")
			_ = control.Flush()
			<-r.Context().Done()
		case "/silence":
			_, _ = io.Copy(io.Discard, r.Body) // until then nobody notices that the proxy leaves
			<-r.Context().Done()
		case "/upload":
			_, _ = io.Copy(io.Discard, r.Body)
		}
	}), nil, nil)
	for _, request := range []string{
		"GET /download HTTP/1.1\nHost: a.example\n\n",
		"GET /events HTTP/1.1\nHost: a.example\n\n",
		"POST /silence HTTP/1.1\nHost: a.example\nContent-Length: 3\n\ntea",
		"POST /upload HTTP/1.1\nHost: a.example\nContent-Length: 100\n\nbegin",
	} {
		connect(t, s.Server, request)
		within(t, entered, "the call")
	}
	guarded := make(chan reply, 1)
	go func() { guarded <- s.post(t, "/guarded", "k", "tea") }()
	within(t, entered, "the guarded call")

	stopped := make(chan error, 1)
	go func() { stopped <- s.Config.Shutdown(context.Background()) }()
	s.proxy.EndUnguarded()
	for range 4 {
		check.True(t, within(t, left, "the calls to end") != "/guarded", "the guarded call has ended")
	}
	select {
	case err := <-stopped:
		t.Fatalf("the server did not wait for the guarded request: %v", err)
	case r := <-guarded:
		t.Fatalf("the guarded request was ended: %d %s", r.StatusCode, r.body)
	default:
	}
	goOn()
	check.Equal(t, within(t, guarded, "the guarded answer").StatusCode, http.StatusCreated, "status of the guarded request")
	check.NoError(t, within(t, stopped, "the server to stop"), "stopping")
}

func TestEndUnguardedClosesUpgradedConnections(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, talkative(t, &calls), nil, nil)
	conn := connect(t, s.Server, "GET /talk HTTP/1.1\nHost: a.example\nConnection: Upgrade\nUpgrade: websocket\n\n")
	in := bufio.NewReader(conn)
	upgraded(t, in)
	s.proxy.EndUnguarded()
	_, err := in.ReadByte()
	check.ErrorIs(t, err, io.EOF, "what comes after the end")
}

func TestUnguardedRequestsAfterTheEndAreEnded(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }), nil, nil)
	s.proxy.EndUnguarded()
	conn := connect(t, s.Server, "GET /a HTTP/1.1\nHost: a.example\n\n")
	rest, err := io.ReadAll(conn)
	check.True(t, len(rest) == 0 && !errors.Is(err, os.ErrDeadlineExceeded), "an answer, or none in ten seconds: %s %v", rest, err)
}

// Servers that know no deadlines have contexts.
func TestEndUnguardedCancels(t *testing.T) {
	var calls atomic.Int64
	entered := make(chan struct{})
	s := newSidecar(t, service(t, &calls, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}), nil, nil)
	ended := make(chan any)
	go func() {
		defer func() { ended <- recover() }()
		s.proxy.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/a", nil))
	}()
	within(t, entered, "the call")
	s.proxy.EndUnguarded()
	check.Equal[any](t, within(t, ended, "the request to end"), http.ErrAbortHandler, "how it ended")
}

// What has ended is forgotten: the end of its connection would be that of the next request on it.
func TestEndedRequestsAreForgotten(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(http.ResponseWriter, *http.Request) {}), nil, nil)
	for range 3 {
		s.do(t, s.request(t, http.MethodGet, "/a", "", ""))
	}
	deadline := time.Now().Add(10 * time.Second)
	for under := -1; under != 0; {
		s.proxy.unguarded.mu.Lock()
		under = len(s.proxy.unguarded.ends)
		s.proxy.unguarded.mu.Unlock()
		check.True(t, time.Now().Before(deadline), "%d requests are still known", under)
	}
}
