package oncehttp_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"time"

	"github.com/onceward/onceward/internal/check"
)

var scenariosOfHandlers = []scenario{
	{
		name: "panic", http2: true, run: doesNotReturn(func() { panic("secret") }),
		promise: "a handler that panics has ended: the client sees it, retries are told, nothing runs again",
	},
	{
		name: "abort", http2: true, run: doesNotReturn(func() { panic(http.ErrAbortHandler) }),
		promise: "a handler that aborts the connection has ended: retries are told, nothing runs again",
	},
	{
		name: "goexit", run: doesNotReturn(runtime.Goexit),
		promise: "a handler that ends its goroutine has ended: retries are told, nothing runs again",
	},
	{
		name: "failure after the effect", run: failsLate,
		promise: "an error is an answer: it is kept as well, because the effect may have happened before it",
	},
	{
		name: "hijack", run: hijack,
		promise: "who takes the connection over has taken effect, whatever is said there",
	},
	{
		name: "timeout inside", run: timeoutInside,
		promise: "a 503 without Retry-After proves nothing: it is replayed, and the late effect remains the only one",
	},
	{
		name: "timeout outside", run: timeoutOutside,
		promise: "who gave up waiting finds the real answer later",
	},
}

func doesNotReturn(end func()) func(x *trial) {
	return func(x *trial) {
		s := x.serve(setup{}, func(_ *service, w http.ResponseWriter, _ *http.Request, _ int) {
			_, _ = io.WriteString(w, "secret")
			end()
		})
		first := s.try(s.request(http.MethodPost, thePath, theBody))
		retry := s.try(s.request(http.MethodPost, thePath, theBody))
		s.ran(1)
		check.True(x, first.err != nil, "the first client got %d %q, want that its connection breaks", first.status, first.body)
		s.problem(s.answered(retry), http.StatusInternalServerError, "handler-failed")
		check.True(x, !strings.Contains(retry.body, "secret"), "internal text: %q", retry.body)
		s.replays(s.post(), retry)
		s.ran(1)
	}
}

func failsLate(x *trial) {
	s := x.serve(setup{}, fail)
	first := s.post()
	again := s.post()
	s.ran(1)
	check.Equal(x, first.body, "failure 1\n", "body")
	s.replays(again, first)
}

func hijack(x *trial) {
	s := x.serve(setup{}, func(_ *service, w http.ResponseWriter, _ *http.Request, _ int) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
		_ = conn.Close()
	})
	check.Equal(x, s.post().body, "hi", "what is said on the hijacked connection")
	retry := s.post()
	s.ran(1)
	s.problem(retry, http.StatusConflict, "outcome-not-stored")
}

func timeoutInside(x *trial) {
	end := x.gate()
	s := x.serve(setup{inside: func(next http.Handler) http.Handler {
		return http.TimeoutHandler(next, 20*time.Millisecond, "too slow")
	}}, slow(end))
	first := s.post()
	early := s.post()
	end.open()
	s.ledger.reach(x, "end", 1)
	late := s.post()
	s.ran(1)
	check.Equal(x, first.status, http.StatusServiceUnavailable, "status")
	check.Equal(x, first.header.Get("Retry-After"), "", "Retry-After")
	s.replays(early, first)
	s.replays(late, first)
}

func timeoutOutside(x *trial) {
	end := x.gate()
	s := x.serve(setup{outside: func(next http.Handler) http.Handler {
		impatient := http.TimeoutHandler(next, 200*time.Millisecond, "too slow")
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Impatient") != "" {
				impatient.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}}, func(s *service, w http.ResponseWriter, r *http.Request, run int) {
		if run == 1 {
			<-end.opened
		}
		if r.Context().Err() != nil {
			http.Error(w, "cancelled", http.StatusInternalServerError)
			return
		}
		pay(s, w, r, run)
	})
	first := s.post("X-Impatient", "1")
	check.Equal(x, first.status, http.StatusServiceUnavailable, "status")
	check.Equal(x, first.header.Get("Idempotent-Replayed"), "", "Idempotent-Replayed")
	end.open()
	s.ledger.reach(x, "end", 1)
	retry := s.post("Prefer", "wait=30")
	s.ran(1)
	check.Equal(x, retry.status, http.StatusCreated, "status of the retry")
	check.Equal(x, retry.header.Get("Location"), thePath+"/1", "Location of the retry")
	s.replays(retry, s.post())
	s.ran(1)
}
