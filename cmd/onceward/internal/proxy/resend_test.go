package proxy

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
)

// An upstream may close a connection that it does not use at the very moment at which a request is on its way, and the
// request is then in doubt. This one is as bad as can be: it decides after half a second, and says so only when it is
// spoken to.
func TestStaleConnectionsCauseNoDoubt(t *testing.T) {
	const (
		clients, rounds = 100, 24
		keeps           = 500 * time.Millisecond // the upstream
		idle            = 100 * time.Millisecond // the proxy, and half of it for guarded requests
	)
	var taken sync.Map // by key
	var calls, reused atomic.Int64
	s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
		defer conn.Close()
		in := bufio.NewReader(conn)
		for n := 0; ; n++ {
			_ = conn.SetReadDeadline(time.Now().Add(keeps))
			if _, err := in.Peek(1); err != nil {
				_ = conn.SetReadDeadline(time.Time{})
				_, _ = in.Peek(1) // until the next request comes, which gets no answer
				return
			}
			_ = conn.SetReadDeadline(time.Time{})
			r, err := read(in)
			if err != nil {
				return
			}
			calls.Add(1)
			if n > 0 {
				reused.Add(1)
			}
			if _, twice := taken.LoadOrStore(r.Header.Get("Idempotency-Key"), true); twice {
				t.Errorf("%s was sent twice", r.Header.Get("Idempotency-Key"))
			}
			_, _ = io.WriteString(conn, created)
		}
	}), nil, &Options{UpstreamIdle: idle})
	s.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = clients

	pauses := []time.Duration{0, idle / 5, idle, keeps + idle} // the load, in which connections grow old
	for round := range rounds {
		time.Sleep(pauses[round%len(pauses)])
		var all sync.WaitGroup
		for client := range clients {
			all.Go(func() {
				answer := s.post(t, "/orders", fmt.Sprintf("k-%d-%d", round, client), "tea")
				if answer.StatusCode != http.StatusCreated {
					t.Errorf("round %d: %d %s", round, answer.StatusCode, answer.body)
				}
			})
		}
		all.Wait()
	}
	check.Equal(t, calls.Load(), int64(clients*rounds), "calls")
	check.True(t, reused.Load() > clients, "%d requests used a connection again, which proves nothing", reused.Load())
}

// net/http sends a request with an idempotency key again by itself, if a connection that it used before dies.
func TestDyingConnectionIsNotTriedAgain(t *testing.T) {
	for _, c := range [...]struct {
		name, method, header string
	}{
		{"guarded", http.MethodPost, "Idempotency-Key"},
		{"unguarded, Idempotency-Key", http.MethodPut, "Idempotency-Key"},
		{"unguarded, X-Idempotency-Key", http.MethodPost, "X-Idempotency-Key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var calls, reused atomic.Int64
			s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for n := 0; ; n++ {
					r, err := read(in)
					if err != nil {
						return
					}
					if r.URL.Path == "/last" {
						calls.Add(1)
						reused.Add(int64(min(n, 1)))
						return // it took effect, and the answer never comes
					}
					_, _ = io.WriteString(conn, created)
				}
			}), nil, nil)
			send := func(path string) reply {
				r := s.request(t, c.method, path, "", "")
				r.Header.Set(c.header, "key-of-"+path[1:])
				return s.do(t, r)
			}
			check.Equal(t, send("/first").StatusCode, http.StatusCreated, "the request before")
			check.Equal(t, send("/last").StatusCode, http.StatusBadGateway, "the request on the dying connection")
			check.Equal(t, calls.Load(), int64(1), "calls")
			check.Equal(t, reused.Load(), int64(1), "calls on a connection that was used before")
		})
	}
}

// HTTP/2 has another rule: what has no body is sent again after PROTOCOL_ERROR, whatever its header says.
func TestResetStreamIsNotTriedAgain(t *testing.T) {
	var calls atomic.Int64
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	config := certificate.TLS.Clone()
	certificate.Close()
	config.NextProtos = []string{"h2"}
	to := listen(t, func(conn *net.TCPConn) {
		defer conn.Close()
		resets(tls.Server(conn, config), &calls)
	})
	s := newSidecar(t, strings.Replace(to, "http", "https", 1), &onceward.Policy{MaxExecution: 5 * time.Second}, nil)
	first := s.post(t, "/orders", "k", "")
	check.Equal(t, first.StatusCode, http.StatusBadGateway, "status")
	check.Equal(t, s.post(t, "/orders", "k", "").code(t), "in-doubt", "code of a retry")
	check.Equal(t, calls.Load(), int64(1), "calls")
}

// resets speaks just enough HTTP/2 (RFC 9113) to take each request and then reset its stream with PROTOCOL_ERROR.
func resets(conn net.Conn, calls *atomic.Int64) {
	const (
		data, headers, reset, settings = 0, 1, 3, 4
		endStream, ack                 = 1, 1
		protocolError                  = 1
	)
	in := bufio.NewReader(conn)
	if _, err := in.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	frame := func(kind, flags byte, stream uint32, payload ...byte) {
		head := []byte{0, 0, byte(len(payload)), kind, flags}
		_, _ = conn.Write(append(binary.BigEndian.AppendUint32(head, stream), payload...))
	}
	frame(settings, 0, 0)
	for {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		if _, err := in.Discard(length); err != nil {
			return
		}
		switch kind, flags := head[3], head[4]; {
		case kind == settings && flags&ack == 0:
			frame(settings, ack, 0)
		case (kind == headers || kind == data) && flags&endStream != 0:
			calls.Add(1)
			frame(reset, 0, binary.BigEndian.Uint32(head[5:]), 0, 0, 0, protocolError)
		}
	}
}
