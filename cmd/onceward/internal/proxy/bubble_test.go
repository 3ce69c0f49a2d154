package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// pipes is a listener whose connections have no buffers, so that a write waits for its reader, and whose time may be fake.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if conn, ok := <-p; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble serves handler, behind a watch on its clients, to the one client that talk is. Time is fake.
func inBubble(t *testing.T, handler http.HandlerFunc, talk func(t *testing.T, conn net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		listener := make(pipes, 1)
		listener <- far
		server := &http.Server{Handler: CutOffIdle(handler, shortIdle)}
		go func() { _ = server.Serve(listener) }()
		talk(t, near)
		_ = near.Close()
		close(listener)
		check.NoError(t, server.Close(), "closing")
	})
}

func TestSlowUploadsAreNotCutOff(t *testing.T) {
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		_, _ = fmt.Fprint(w, n, err)
	}, func(t *testing.T, conn net.Conn) {
		const pieces = 15
		send(t, conn, post+fmt.Sprintf("Content-Length: %d\n\n", pieces))
		for range pieces {
			time.Sleep(shortIdle - 1)
			send(t, conn, "a")
		}
		check.Equal(t, answered(t, bufio.NewReader(conn)).body, fmt.Sprint(pieces, nil), "what arrived")
	})
}

// However much is written at once, the time is for a piece of it.
func TestSlowDownloadsAreNotCutOff(t *testing.T) {
	const pieces = 15
	inBubble(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(pieces*bufferSize))
		n, err := w.Write(make([]byte, pieces*bufferSize))
		if err != nil || n != pieces*bufferSize {
			t.Errorf("%d bytes were sent: %v", n, err)
		}
	}, func(t *testing.T, conn net.Conn) {
		send(t, conn, "GET /a HTTP/1.1\nHost: a.example\n\n")
		in := bufio.NewReader(conn)
		response, err := http.ReadResponse(in, nil)
		check.NoError(t, err, "the answer")
		defer response.Body.Close()
		for range pieces {
			time.Sleep(shortIdle - 1)
			_, err := io.ReadFull(response.Body, make([]byte, bufferSize))
			check.NoError(t, err, "reading")
		}
	})
}

// An answer that comes early reaches a client that has stopped sending.
func TestEarlyAnswersReachStallingClients(t *testing.T) {
	inBubble(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "enough")
	}, func(t *testing.T, conn net.Conn) {
		send(t, conn, stalled)
		answer := answered(t, bufio.NewReader(conn))
		check.Equal(t, answer.body, "enough", "the answer")
		check.True(t, answer.Close, "the connection is kept, with half a body in it")
	})
}

// What the handler has written may wait in net/http's buffers until it has returned.
func TestStallingAtTheEndIsCutOff(t *testing.T) {
	var returned time.Time
	inBubble(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "small")
		time.Sleep(longer)
		returned = time.Now()
	}, func(t *testing.T, conn net.Conn) {
		send(t, conn, "GET /a HTTP/1.1\nHost: a.example\n\n")
		time.Sleep(2 * longer)
		_, err := conn.Write([]byte("a")) // the pipe is closed at the other end
		check.ErrorIs(t, err, io.ErrClosedPipe, "a connection that was not cut off")
		check.True(t, !returned.IsZero(), "the handler did not return")
	})
}

// A silent service is not the client's fault, whatever deadlines were set before, and for an earlier request.
func TestSilentServicesCutNobodyOff(t *testing.T) {
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		silence := func() {
			select {
			case <-r.Context().Done():
				panic("net/http takes the client for gone")
			case <-time.After(longer):
			}
		}
		half := make([]byte, 2)
		_, _ = io.ReadFull(r.Body, half)
		silence() // within an upload
		rest, err := io.ReadAll(r.Body)
		silence() // before the answer
		_, _ = fmt.Fprint(w, string(half), string(rest), err)
		_ = http.NewResponseController(w).Flush()
		silence() // within a stream
		_, _ = io.WriteString(w, "end")
	}, func(t *testing.T, conn net.Conn) {
		in := bufio.NewReader(conn)
		for _, request := range []string{
			post + "Content-Length: 4\n\nabcd",
			post + "Content-Length: 2\n\nab",
			post + "Transfer-Encoding: chunked\n\n3\nabc\n1\nd\n0\n\n",
			post + "Content-Length: 0\n\n",
			post + "Content-Length: 4\n\nabcd",
		} {
			time.Sleep(longer) // an unused connection is the server's business
			go send(t, conn, request)
			answer := answered(t, in)
			check.Equal(t, answer.StatusCode, http.StatusOK, "status of %q", request)
			check.True(t, strings.HasSuffix(answer.body, "<nil>end"), "the answer to %q: %s", request, answer.body)
		}
	})
}

// Goroutines may read a body after its handler has returned, when the connection has another request.
func TestReadersThatAreLateDoNoHarm(t *testing.T) {
	var late io.Reader
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		if late == nil {
			late = r.Body
			return
		}
		_, err := late.Read(make([]byte, 1))
		time.Sleep(longer)
		_, _ = fmt.Fprint(w, errors.Is(err, http.ErrBodyReadAfterClose), r.Context().Err())
	}, func(t *testing.T, conn net.Conn) {
		in := bufio.NewReader(conn)
		send(t, conn, post+"Content-Length: 3\n\ntea")
		answered(t, in)
		send(t, conn, "GET /a HTTP/1.1\nHost: a.example\n\n")
		check.Equal(t, answered(t, in).body, "true <nil>", "what the late reader gets, and how the next request fares")
	})
}

// The handler's own deadline holds, even if the client does something all the time, and ends where the handler ends it.
func TestDeadlinesOfHandlersHold(t *testing.T) {
	begun := time.Time{}
	inBubble(t, func(w http.ResponseWriter, r *http.Request) {
		begun = time.Now()
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(longer))
		_, err := io.ReadAll(r.Body)
		_ = control.SetReadDeadline(time.Time{})
		if err == nil {
			time.Sleep(2 * longer)
			err = r.Context().Err()
		}
		_, _ = fmt.Fprint(w, errors.Is(err, os.ErrDeadlineExceeded), err)
	}, func(t *testing.T, conn net.Conn) {
		in := bufio.NewReader(conn)
		send(t, conn, post+"Content-Length: 3\n\ntea")
		check.Equal(t, answered(t, in).body, "false <nil>", "a deadline that was taken away")
		send(t, conn, post+"Content-Length: 1000\n\n")
		go func() {
			for range 999 {
				if _, err := io.WriteString(conn, "a"); err != nil {
					return
				}
				time.Sleep(shortIdle / 10)
			}
		}()
		body := answered(t, in).body
		check.True(t, strings.HasPrefix(body, "true"), "a deadline that is over: %s", body)
		check.Equal(t, time.Since(begun), longer, "after which time")
		check.NoError(t, conn.Close(), "leaving")
		time.Sleep(shortIdle) // until the sender has noticed
	})
}

// The handler may have returned long before.
func TestConnectionsThatSomebodyTookAreLeftAlone(t *testing.T) {
	inBubble(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		go func() {
			defer conn.Close()
			line, _ := buffered.ReadString('\n')
			_, _ = io.WriteString(conn, line)
		}()
	}, func(t *testing.T, conn net.Conn) {
		send(t, conn, "GET /a HTTP/1.1\nHost: a.example\n\n")
		time.Sleep(longer)
		send(t, conn, "hello\n")
		line, err := bufio.NewReader(conn).ReadString('\n')
		check.NoError(t, err, "listening")
		check.Equal(t, line, "hello\r\n", "what came back")
	})
}
