package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

func TestDuplicatesAtOnceAreOneCall(t *testing.T) {
	const duplicates = 200
	var calls atomic.Int64
	entered, leave := make(chan struct{}), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(leave) })
	defer goOn()
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, r *http.Request) {
		close(entered) // a second call would panic here
		<-leave
		w.WriteHeader(http.StatusCreated)
		_, _ = io.Copy(w, r.Body)
	}), nil, nil)

	replies := make(chan reply, duplicates)
	var all sync.WaitGroup
	for range duplicates {
		all.Go(func() { replies <- s.post(t, "/orders", "k", "tea") })
	}
	within(t, entered, "the call")
	for range duplicates - 1 {
		r := within(t, replies, "the answers to the duplicates")
		check.Equal(t, r.StatusCode, http.StatusConflict, "while the first runs")
		check.Equal(t, r.code(t), "in-progress", "while the first runs")
	}
	goOn()
	all.Wait()
	first := <-replies
	check.Equal(t, first.StatusCode, http.StatusCreated, "the first answer")
	again := s.post(t, "/orders", "k", "tea")
	check.Equal(t, again.body, first.body, "the replay")
	check.Equal(t, again.Header.Get("Idempotent-Replayed"), "true", "the replay's mark")
	check.Equal(t, calls.Load(), int64(1), "calls")
}

func TestUpstreamLearnsTheAttempt(t *testing.T) {
	var calls atomic.Int64
	got := make(chan *http.Request, 1)
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, r *http.Request) {
		got <- r
		w.Header().Set("Idempotency-Control", "no-store")
	}), nil, nil)
	spoof := func(method, key string) (*http.Request, reply) {
		r := s.request(t, method, "/a%2Fb?x=1;2&y", key, "")
		r.Host = "shop.example"
		r.Header.Set("Idempotency-Attempt", "77")
		r.Header.Set("Idempotency-Fence", "77")
		r.Header.Set("X-Forwarded-For", "203.0.113.1")
		answer := s.do(t, r)
		return within(t, got, "the request"), answer
	}

	r, answer := spoof(http.MethodPost, "k")
	check.Equal(t, r.Header.Get("Idempotency-Key"), "k", "key")
	check.Equal(t, r.Header.Get("Idempotency-Attempt"), "1", "attempt")
	check.Equal(t, r.Header.Get("Idempotency-Fence"), "1", "fence")
	check.Equal(t, r.Header.Get("X-Forwarded-For"), "127.0.0.1", "only what the proxy itself saw")
	check.Equal(t, r.Header.Get("X-Forwarded-Host"), "shop.example", "forwarded host")
	check.Equal(t, r.Host, "shop.example", "host")
	check.Equal(t, r.RequestURI, "/a%2Fb?x=1;2&y", "the target, as it was sent")
	check.Equal(t, r.Header.Values("Accept-Encoding"), []string(nil), "a compression that the client did not ask for")
	check.Equal(t, answer.Header.Values("Idempotency-Control"), []string(nil), "control of a guarded answer")

	r, answer = spoof(http.MethodPut, "k")
	check.Equal(t, r.Header.Get("Idempotency-Key"), "k", "key of an unguarded request")
	check.Equal(t, r.Header.Values("Idempotency-Attempt"), []string(nil), "attempt of an unguarded request")
	check.Equal(t, r.Header.Values("Idempotency-Fence"), []string(nil), "fence of an unguarded request")
	check.Equal(t, answer.Header.Values("Idempotency-Control"), []string(nil), "control of an unguarded answer")
}

func TestBodylessRequestHasLengthZero(t *testing.T) {
	var calls atomic.Int64
	got := make(chan *http.Request, 1)
	s := newSidecar(t, service(t, &calls, func(_ http.ResponseWriter, r *http.Request) { got <- r }), nil, nil)
	check.Equal(t, s.post(t, "/orders", "k", "").StatusCode, http.StatusOK, "status")
	r := within(t, got, "the request")
	check.Equal(t, r.ContentLength, int64(0), "length")
	check.Equal(t, r.TransferEncoding, []string(nil), "chunks, which not every service takes")
}

// An answer of unknown length is stored before it is sent, which the time until which it is stored tells.
func TestChunkedAnswerIsStoredAndReplayed(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Sum")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "part %d\n", i)
			_ = http.NewResponseController(w).Flush()
		}
		w.Header().Set("Sum", "42")
	}), nil, nil)
	first := s.post(t, "/report", "k", "")
	check.Equal(t, first.body, "part 0\npart 1\npart 2\n", "the first answer")
	check.Equal(t, first.Trailer.Get("Sum"), "42", "the first answer's trailer")
	check.True(t, first.Header.Get("Idempotency-Expires") != "", "the answer was sent before it was stored")
	again := s.post(t, "/report", "k", "")
	check.Equal(t, again.body, first.body, "the replay")
	check.Equal(t, again.Trailer.Get("Sum"), "42", "the replay's trailer")
	check.Equal(t, calls.Load(), int64(1), "calls")
}

func TestSlowAnswerFlowsAndIsReplayed(t *testing.T) {
	flows(t, "text/plain", flushAfter)
}

func TestEventsFlowAndAreReplayed(t *testing.T) {
	flows(t, "text/event-stream; charset=utf-8", 0)
}

// flows checks that the first part of an answer reaches the client while the upstream waits with the second, not before
// least is over.
func flows(t *testing.T, kind string, least time.Duration) {
	t.Helper()
	var calls atomic.Int64
	seen := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(seen) })
	defer goOn()
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		<-seen
		_, _ = io.WriteString(w, "data: two\n\n")
	}), nil, nil)
	begun := time.Now()
	response, err := s.Client().Do(s.request(t, http.MethodPost, "/watch", "k", ""))
	check.NoError(t, err, "the answer")
	defer response.Body.Close()
	in := bufio.NewReader(response.Body)
	line, err := in.ReadString('\n')
	check.NoError(t, err, "the first event")
	check.Equal(t, line, "data: one\n", "the first event")
	took := time.Since(begun)
	check.True(t, took >= least, "it was flushed after %v, without a chance to be stored first", took)
	check.True(t, least > 0 || took < flushAfter, "the event was held back for %v", took)
	goOn()
	rest, err := io.ReadAll(in)
	check.NoError(t, err, "the rest")
	check.Equal(t, string(rest), "\ndata: two\n\n", "the rest")
	again := s.post(t, "/watch", "k", "")
	check.Equal(t, again.body, "data: one\n\ndata: two\n\n", "the replay")
	check.Equal(t, calls.Load(), int64(1), "calls")
}

// A request may name a whole URL, or any host. Neither decides where it goes.
func TestUpstreamIsNotTheClientsChoice(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Host+r.URL.Path)
	}), nil, nil)
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	check.NoError(t, err, "connecting")
	defer conn.Close()
	_, err = io.WriteString(conn, "POST http://elsewhere.example/orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	check.NoError(t, err, "sending")
	answer, err := io.ReadAll(conn)
	check.NoError(t, err, "the answer")
	check.True(t, strings.HasSuffix(string(answer), "elsewhere.example/orders"), "the answer: %s", answer)
	check.Equal(t, calls.Load(), int64(1), "calls")
}

func TestRedirectsAreTheClients(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusSeeOther)
	}), nil, nil)
	answer := s.post(t, "/orders", "k", "")
	check.Equal(t, answer.StatusCode, http.StatusSeeOther, "status")
	check.Equal(t, answer.Header.Get("Location"), "/elsewhere", "location")
	check.Equal(t, calls.Load(), int64(1), "calls")
}

func TestTunnelsAreRefused(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(http.ResponseWriter, *http.Request) {}), nil, nil)
	answer := s.do(t, s.request(t, http.MethodConnect, "", "", ""))
	check.Equal(t, answer.StatusCode, http.StatusMethodNotAllowed, "status")
	check.Equal(t, calls.Load(), int64(0), "calls")
}

func TestUpgradePassesThroughUnguarded(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		line, _ := buffered.ReadString('\n')
		_, _ = io.WriteString(conn, "heard "+line)
	}), nil, nil)
	upgrade := func(method, key string) *http.Request {
		r := s.request(t, method, "/talk", key, "")
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		return r
	}

	response, err := s.Client().Do(upgrade(http.MethodGet, ""))
	check.NoError(t, err, "the answer")
	defer response.Body.Close()
	check.Equal(t, response.StatusCode, http.StatusSwitchingProtocols, "status")
	_, err = io.WriteString(response.Body.(io.Writer), "hello\n")
	check.NoError(t, err, "talking")
	said, err := io.ReadAll(response.Body)
	check.NoError(t, err, "listening")
	check.Equal(t, string(said), "heard hello\n", "what came back")

	// What is said on an upgraded connection cannot be replayed, so a guarded request asks for none.
	check.Equal(t, s.do(t, upgrade(http.MethodPost, "k")).StatusCode, http.StatusOK, "status of a guarded request")
}

func TestUploadsStreamWhenUnguarded(t *testing.T) {
	var calls atomic.Int64
	began := make(chan struct{})
	s := newSidecar(t, service(t, &calls, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = r.Body.Read(make([]byte, 5))
		close(began)
		_, _ = io.Copy(io.Discard, r.Body)
	}), nil, nil)
	body, upload := io.Pipe()
	r := s.request(t, http.MethodPost, "/files", "", "")
	r.Body, r.ContentLength = body, -1
	answered := make(chan reply)
	go func() { answered <- s.do(t, r) }()
	_, err := io.WriteString(upload, "begin")
	check.NoError(t, err, "the upload's beginning")
	within(t, began, "the upstream to see the beginning before the end was sent")
	_, err = io.Copy(upload, strings.NewReader("end"))
	check.NoError(t, err, "the upload's end")
	check.NoError(t, upload.Close(), "ending the upload")
	check.Equal(t, within(t, answered, "the answer").StatusCode, http.StatusOK, "status")
}
