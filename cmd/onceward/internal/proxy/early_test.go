package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// large does not fit into the buffers of a connection, so that it is still being written when the answer is there.
var large = strings.Repeat("tea.", 2<<20)

// early is a service that reads no more than the header and the beginning of a body, says something, and closes, so that
// the connection is reset.
func early(t *testing.T, scheme, says string, calls *atomic.Int64) (to string) {
	t.Helper()
	serve := func(conn net.Conn) {
		defer conn.Close()
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			calls.Add(1)
		}
		_, _ = io.WriteString(conn, says)
	}
	if scheme == "https" {
		return secured(t, false, serve)
	}
	return listen(t, func(conn *net.TCPConn) { serve(conn) })
}

// The write that fails races with the answer, in which there is no doubt.
func TestAnswersToHalfOfARequestCount(t *testing.T) {
	const rounds = 10
	for _, scheme := range []string{"http", "https"} {
		for _, says := range []string{
			"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nmuch",
			"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		} {
			var calls atomic.Int64
			s := newSidecar(t, early(t, scheme, says, &calls), nil, nil)
			var doubts int
			for i := range rounds {
				if s.post(t, "/files", fmt.Sprint("k-", i), large).StatusCode != http.StatusRequestEntityTooLarge {
					doubts++
				}
			}
			check.Equal(t, doubts, 0, "%s: doubts about %q", scheme, says)
			again := s.post(t, "/files", "k-0", large)
			check.Equal(t, again.Header.Get("Idempotent-Replayed"), "true", "the replay's mark")
			check.Equal(t, calls.Load(), int64(rounds), "%s: calls", scheme)
		}
	}
}

func TestHalfOfARequestWithoutAnAnswerIsInDoubt(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		for _, says := range []string{"", "HTTP/1.1 4"} {
			var calls atomic.Int64
			s := newSidecar(t, early(t, scheme, says, &calls), nil, nil)
			check.Equal(t, s.post(t, "/files", "k", large).code(t), "upstream-failed", "code after %q over %s", says, scheme)
			check.Equal(t, s.post(t, "/files", "k", large).code(t), "in-doubt", "code of a retry")
			check.Equal(t, calls.Load(), int64(1), "calls")
		}
	}
}

// failing is a connection whose writes fail once as many as room have been made.
type failing struct {
	net.Conn

	room  int
	err   error
	tries int
}

func (f *failing) Write(p []byte) (int, error) {
	if f.tries++; f.tries > f.room {
		return 0, f.err
	}
	return len(p), nil
}

// What the upstream does not read any more is not sent, and a request that comes after that is not sent at all.
func TestWritesAfterACut(t *testing.T) {
	const room = 2
	conn := &failing{room: room, err: syscall.EPIPE}
	c := newCounted(conn)
	first, next := &use{conn: c}, &use{conn: c, before: room}
	c.alone.Store(first)
	for i := range 2 * room {
		n, err := c.Write([]byte("ab"))
		check.NoError(t, err, "write %d of the first request", i)
		check.Equal(t, n, 2, "what write %d says that it took", i)
	}
	check.Equal(t, conn.tries, room+1, "writes that were tried")
	c.alone.Store(next)
	_, err := c.Write([]byte("ab"))
	check.ErrorIs(t, err, errCut, "a write of the next request")
	check.Equal(t, conn.tries, room+1, "writes that were tried then")
	check.Equal(t, next.wrote(), false, "whether the next request was sent")
}

func TestFailuresThatAreNotACutAreSeen(t *testing.T) {
	for _, c := range [...]struct {
		name string
		conn failing
		use  bool
	}{
		{"the first write of a request", failing{err: syscall.EPIPE}, true},
		{"a connection that is shared", failing{room: 1, err: syscall.EPIPE}, false},
		{"another error", failing{room: 1, err: io.ErrClosedPipe}, true},
	} {
		counts := newCounted(&c.conn)
		if c.use {
			counts.alone.Store(&use{conn: counts})
		}
		var err error
		for range c.conn.room + 1 {
			_, err = counts.Write([]byte("ab"))
		}
		check.ErrorIs(t, err, c.conn.err, "%s", c.name)
	}
}

// Over HTTP/2 a connection that cannot be written to is over for all who share it.
func TestOnlyHTTP1HasAConnectionForItself(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		near, far := net.Pipe()
		plain := newCounted(near)
		(&passage{}).gotConn(t.Context(), httptrace.GotConnInfo{Conn: plain}, h2)
		check.Equal(t, plain.alone.Load() != nil, !h2, "without TLS, HTTP/2: %v", h2)
		_, _ = near.Close(), far.Close()

		address := strings.TrimPrefix(secured(t, h2, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }), "https://")
		conn, err := net.Dial("tcp", address)
		check.NoError(t, err, "connecting")
		under := newCounted(conn)
		secure := tls.Client(under, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		check.NoError(t, secure.Handshake(), "the handshake")
		(&passage{}).gotConn(t.Context(), httptrace.GotConnInfo{Conn: secure}, false)
		check.Equal(t, under.alone.Load() != nil, !h2, "with TLS, HTTP/2: %v", h2)
		check.NoError(t, secure.Close(), "closing")
	}
}
