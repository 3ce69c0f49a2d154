package access

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// Events go out one by one, from a guarded handler and from one that is not.
func TestEventsAreNotHeldBack(t *testing.T) {
	for _, key := range []string{"", "k"} {
		got := make(chan struct{})
		end := sync.OnceFunc(func() { close(got) })
		s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: 1\n\n")
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			<-got // an event that is held back waits here until the client gives up
			_, _ = io.WriteString(w, "data: 2\n\n")
		})
		t.Cleanup(end)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/events", strings.NewReader("x"))
		check.NoError(t, err, "request")
		if key != "" {
			r.Header.Set("Idempotency-Key", key)
		}
		res, err := s.Client().Do(r)
		check.NoError(t, err, "asking for events")
		first := make([]byte, len("data: 1\n\n"))
		_, err = io.ReadFull(res.Body, first)
		check.NoError(t, err, "the first event")
		end()
		_, err = io.ReadAll(res.Body)
		check.NoError(t, err, "the rest")
		check.NoError(t, res.Body.Close(), "closing the answer")
		check.Equal(t, s.next(t)["bytes"], any(18.0), "bytes")
	}
}

// A WebSocket goes through a reverse proxy behind the log, and ends with its line.
func TestConnectionsCanBeHandedOver(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := buffered.ReadString('\n')
		_, _ = io.WriteString(conn, "echo "+line)
	}))
	defer upstream.Close()
	to, err := url.Parse(upstream.URL)
	check.NoError(t, err, "the upstream's URL")
	s := serve(t, httputil.NewSingleHostReverseProxy(to).ServeHTTP)

	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	check.NoError(t, err, "dialling")
	defer conn.Close()
	_, err = io.WriteString(conn, "GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	check.NoError(t, err, "asking")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	check.NoError(t, err, "the answer")
	defer res.Body.Close()
	check.Equal(t, res.StatusCode, http.StatusSwitchingProtocols, "status")
	_, err = io.WriteString(conn, "hello\n")
	check.NoError(t, err, "saying hello")
	echo, err := in.ReadString('\n')
	check.NoError(t, err, "the echo")
	check.Equal(t, echo, "echo hello\n", "echo")
	check.NoError(t, conn.Close(), "closing")
	line := s.next(t)
	check.Equal(t, line["status"], any(101.0), "status")
	check.Equal(t, line["path"], any("/chat"), "path")
}

// A file is handed to net/http as a file, and what it sends is counted.
func TestFilesAreCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	check.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("x"), 1<<20), 0o600), "writing the file")
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(io.ReaderFrom); !ok {
			t.Error("the writer cannot take a file")
		}
		http.ServeFile(w, r, path)
	})
	check.Equal(t, s.logged(t, "GET", "/file", "", "")["bytes"], any(float64(1<<20)), "bytes")
}

// An informational answer and a flush come before the status, and a second status comes too late.
func TestTheStatusIsTheOneThatWasSent(t *testing.T) {
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		want   float64
	}{
		"early hints": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		}, 418},
		"a flush": {func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			w.WriteHeader(http.StatusTeapot)
		}, 200},
		"nothing": {func(http.ResponseWriter, *http.Request) {}, 200},
		"twice": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			w.WriteHeader(http.StatusOK)
		}, 418},
	} {
		s := serve(t, c.handle)
		got, err := s.send(t, "GET", "/", "", "")
		check.NoError(t, err, "%s", name)
		line := s.next(t)
		check.Equal(t, line["status"], any(c.want), "%s", name)
		check.Equal(t, line["status"], any(float64(got)), "%s: what the client got", name)
	}
}
