package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// An upstream may close a connection that it does not use at the very moment at which a request is on its way, and the
// request is then in doubt. This one is as bad as can be: it decides after a second and a half, and says so only when it is
// spoken to.
func TestStaleConnectionsCauseNoDoubt(t *testing.T) {
	const (
		clients, rounds = 100, 12
		keeps           = 1500 * time.Millisecond // the upstream
		idle            = 100 * time.Millisecond  // the proxy, and half of it for guarded requests
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
