package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

const (
	shortIdle = 200 * time.Millisecond
	longer    = 3 * shortIdle
)

// connect returns a connection that has a small buffer and on which a request was sent.
func connect(t *testing.T, server *httptest.Server, request string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	check.NoError(t, err, "connecting")
	t.Cleanup(func() { _ = conn.Close() })
	tcp := conn.(*net.TCPConn)
	check.NoError(t, tcp.SetReadBuffer(4096), "a small buffer")
	check.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)), "a deadline")
	send(t, conn, request)
	return tcp
}

func send(t *testing.T, conn net.Conn, request string) {
	t.Helper()
	_, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n"))
	check.NoError(t, err, "sending")
}

// answered reads one answer and its body.
func answered(t *testing.T, in *bufio.Reader) reply {
	t.Helper()
	response, err := http.ReadResponse(in, nil)
	check.NoError(t, err, "the answer")
	body, err := io.ReadAll(response.Body)
	check.NoError(t, err, "the answer's body")
	check.NoError(t, response.Body.Close(), "closing the answer's body")
	return reply{response, string(body)}
}

// upgraded reads the answer to an upgrade.
func upgraded(t *testing.T, in *bufio.Reader) {
	t.Helper()
	response, err := http.ReadResponse(in, nil)
	check.NoError(t, err, "the answer")
	check.NoError(t, response.Body.Close(), "closing the body that it does not have")
	check.Equal(t, response.StatusCode, http.StatusSwitchingProtocols, "status")
}

const (
	post    = "POST /a HTTP/1.1\nHost: a.example\n"
	stalled = post + "Content-Length: 1000\n\nbegin"
)

// endless writes until somebody cannot take it any more.
func endless(w http.ResponseWriter) error {
	for {
		if _, err := w.Write(make([]byte, 256<<10)); err != nil {
			return err
		}
	}
}

func TestStallingClientsAreCutOff(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = endless(w)
	}), nil, nil)
	through := func(w http.ResponseWriter, r *http.Request) error { s.proxy.ServeHTTP(w, r); return nil }
	for _, c := range [...]struct {
		name, request string
		serve         func(w http.ResponseWriter, r *http.Request) error
	}{
		{"an upload", stalled, func(_ http.ResponseWriter, r *http.Request) error { _, err := io.Copy(io.Discard, r.Body); return err }},
		{"a download", "GET /a HTTP/1.1\nHost: a.example\n\n", func(w http.ResponseWriter, _ *http.Request) error { return endless(w) }},
		{"an upload through the proxy", stalled, through},
		{"a download through the proxy", "GET /a HTTP/1.1\nHost: a.example\n\n", through},
		{"an upload that is answered early", stalled, func(w http.ResponseWriter, _ *http.Request) error {
			_, err := io.WriteString(w, "enough")
			_ = http.NewResponseController(w).Flush() // net/http reads the rest of the body before
			return err
		}},
		{"an upload that nobody reads", stalled, func(http.ResponseWriter, *http.Request) error { return nil }},
		{"an upload that is closed", stalled, func(_ http.ResponseWriter, r *http.Request) error { return r.Body.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(nil)
			closed := make(chan struct{})
			server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateClosed {
					close(closed)
				}
			}
			server.Config.Handler = CutOffIdle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_ = c.serve(w, r)
			}), shortIdle)
			server.Start()
			begun := time.Now()
			connect(t, server, c.request)
			within(t, closed, "the connection to be closed")
			took := time.Since(begun)
			check.True(t, took >= shortIdle, "it was cut off after %v", took)
			server.Close()
		})
	}
}

// HTTP/2 ends a stream whose deadline is over, whether anybody waits for it or not.
func TestSilentServicesCutNobodyOffOverHTTP2(t *testing.T) {
	const idle = 500 * time.Millisecond
	silence := func() { time.Sleep(idle + shortIdle) }
	server := httptest.NewUnstartedServer(CutOffIdle(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.ReadFull(r.Body, make([]byte, 2))
		silence() // within an upload
		rest, also := io.ReadAll(r.Body)
		_, _ = fmt.Fprint(w, string(rest), errors.Join(err, also))
		_ = http.NewResponseController(w).Flush()
		silence() // within a stream
		_, _ = io.WriteString(w, "end")
	}), idle))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	body, upload := io.Pipe()
	go func() {
		_, _ = io.WriteString(upload, "ab")
		silence()
		_, _ = io.WriteString(upload, "cd")
		_ = upload.Close()
	}()
	response, err := server.Client().Post(server.URL, "text/plain", body)
	check.NoError(t, err, "the answer")
	defer response.Body.Close()
	check.Equal(t, response.ProtoMajor, 2, "protocol")
	answer, err := io.ReadAll(response.Body)
	check.NoError(t, err, "the answer's body")
	check.Equal(t, string(answer), "cd<nil>end", "the answer")
}

func TestUpgradedConnectionsAreLeftAlone(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, talkative(t, &calls), nil, nil)
	server := httptest.NewServer(CutOffIdle(s.proxy, shortIdle))
	t.Cleanup(server.Close)
	conn := connect(t, server, "GET /talk HTTP/1.1\nHost: a.example\nConnection: Upgrade\nUpgrade: websocket\n\n")
	in := bufio.NewReader(conn)
	upgraded(t, in)
	for range 2 {
		time.Sleep(longer) // silence on both sides
		send(t, conn, "hello\n")
		line, err := in.ReadString('\n')
		check.NoError(t, err, "listening")
		check.Equal(t, line, "heard hello\r\n", "what came back")
	}
}

// talkative is a service that upgrades to a connection on which it repeats what it hears.
func talkative(t *testing.T, calls *atomic.Int64) (to string) {
	t.Helper()
	return service(t, calls, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		for {
			line, err := buffered.ReadString('\n')
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "heard "+line)
		}
	})
}
