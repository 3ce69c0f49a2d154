package proxy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// free checks that the key was released: as soon as the service is there, the request runs.
func (s *sidecar) free(t *testing.T) {
	t.Helper()
	answer := s.post(t, "/orders", "k", "tea")
	check.Equal(t, answer.StatusCode, http.StatusServiceUnavailable, "status")
	check.Equal(t, answer.code(t), "upstream-unavailable", "code")
	check.Equal(t, answer.Header.Get("Retry-After"), "1", "when to ask again")
	check.Equal(t, answer.Header.Values(headerControl), []string(nil), "a word between the proxy and the guard")

	var calls atomic.Int64
	to := service(t, &calls, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
	s.proxy.guarded.CloseIdleConnections()
	s.proxy.to.Scheme, s.proxy.to.Host = "http", strings.TrimPrefix(to, "http://")
	s.proxy.guarded.DialContext = countWrites((&net.Dialer{}).DialContext)
	check.Equal(t, s.post(t, "/orders", "k", "tea").StatusCode, http.StatusCreated, "status once the service is there")
	check.Equal(t, calls.Load(), int64(1), "calls")
}

func TestNobodyListensIsFree(t *testing.T) {
	newSidecar(t, "http://"+vacant(t), nil, nil).free(t)
}

// vacant is a port that nobody listens on.
func vacant(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.NoError(t, err, "a port")
	check.NoError(t, listener.Close(), "closing it")
	return listener.Addr().String()
}

func TestBrokenHandshakeIsFree(t *testing.T) {
	to := listen(t, func(conn *net.TCPConn) {
		_, _ = conn.Read(make([]byte, 1)) // the greeting, but nothing of the request
		_ = conn.Close()
	})
	newSidecar(t, strings.Replace(to, "http", "https", 1), nil, nil).free(t)
}

// The upstream closes before it has read anything, and the first write already fails.
func TestClosedBeforeTheFirstByteIsFree(t *testing.T) {
	s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
		_ = conn.SetLinger(0) // a reset, after which nothing can be written
		_ = conn.Close()
	}), nil, nil)
	s.proxy.guarded.DialContext = countWrites(func(ctx context.Context, network, addr string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		if err == nil {
			_, _ = conn.Read(make([]byte, 1)) // until the reset is here
		}
		return conn, err
	})
	s.free(t)
}

// brittle is a service that reads each request and breaks off.
func brittle(t *testing.T) (to string) {
	t.Helper()
	return listen(t, func(conn *net.TCPConn) {
		_, _ = read(bufio.NewReader(conn))
		_ = conn.Close()
	})
}

func TestUpstreamThatDiesAfterReadingIsInDoubt(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
		if _, err := read(bufio.NewReader(conn)); err == nil {
			calls.Add(1)
		}
		_ = conn.Close()
	}), nil, nil)
	first := s.post(t, "/orders", "k", "tea")
	check.Equal(t, first.StatusCode, http.StatusBadGateway, "status")
	check.Equal(t, first.code(t), "upstream-failed", "code")
	check.Equal(t, first.Header.Values("Retry-After"), []string(nil), "when to ask again")
	check.True(t, strings.Contains(first.body, `"retryable":false`), "the client is told to try again: %s", first.body)
	again := s.post(t, "/orders", "k", "tea")
	check.Equal(t, again.StatusCode, http.StatusConflict, "status of a retry")
	check.Equal(t, again.code(t), "in-doubt", "code of a retry")
	check.Equal(t, calls.Load(), int64(1), "calls")
	record, err := s.guard.Lookup(t.Context(), onceward.Key{Scope: "single-tenant", Operation: "POST /orders", Value: "k"})
	check.NoError(t, err, "the record")
	check.Equal(t, record.Note.Reason, "upstream-failed", "the reason in the record")
}

func TestUpstreamThatDiesIsRunAgainUnderRerun(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
		if _, err := read(bufio.NewReader(conn)); err == nil && calls.Add(1) > 1 {
			_, _ = io.WriteString(conn, created)
		}
		_ = conn.Close()
	}), &onceward.Policy{OnCrash: onceward.Rerun}, nil)
	first := s.post(t, "/orders", "k", "tea")
	check.Equal(t, first.StatusCode, http.StatusBadGateway, "status")
	check.True(t, strings.Contains(first.body, `"retryable":true`), "the client is told not to try again: %s", first.body)
	check.Equal(t, s.post(t, "/orders", "k", "tea").StatusCode, http.StatusCreated, "status of the second attempt")
}

func TestLastAttemptUnderRerunIsInDoubt(t *testing.T) {
	s := newSidecar(t, brittle(t), &onceward.Policy{OnCrash: onceward.Rerun, MaxAttempts: 2}, &Options{MaxAttempts: 2})
	first := s.post(t, "/orders", "k", "tea")
	check.True(t, strings.Contains(first.body, `"retryable":true`), "the first client is told not to try again: %s", first.body)
	last := s.post(t, "/orders", "k", "tea")
	check.Equal(t, last.code(t), "upstream-failed", "code of the last attempt")
	check.True(t, strings.Contains(last.body, `"retryable":false`), "the last client is told to try again: %s", last.body)
	check.Equal(t, s.post(t, "/orders", "k", "tea").code(t), "in-doubt", "code after the last attempt")
}

// What the proxy and the guard log of one failure can be joined.
func TestFailuresAreLogged(t *testing.T) {
	for _, c := range [...]struct {
		key, to string
		policy  onceward.Policy
		says    string
		guard   string // what the guard says of it
	}{
		{"k", brittle(t), onceward.Policy{}, "upstream-failed: the key is in doubt", "given-up"},
		{"k", brittle(t), onceward.Policy{OnCrash: onceward.Rerun}, "upstream-failed: the next request with the key runs", "given-up"},
		{"k", "http://" + vacant(t), onceward.Policy{}, "upstream-unavailable: nothing was sent, the key is free", "released"},
		{"", brittle(t), onceward.Policy{}, "upstream-failed: the request is not guarded", ""},
	} {
		var log bytes.Buffer
		all := &slog.HandlerOptions{Level: slog.LevelDebug}
		s := newSidecar(t, c.to, &c.policy, &Options{Logger: slog.New(slog.NewJSONHandler(&log, all))})
		s.post(t, "/a%2Fb?c", c.key, "tea")
		s.Close() // whatever logs has ended
		type line struct {
			Msg, Operation, Error string
			Attempt               int
			Fence                 uint64
		}
		lines := map[string]line{}
		for text := range bytes.Lines(log.Bytes()) {
			var l line
			check.NoError(t, json.Unmarshal(text, &l), "%s", text)
			lines[l.Msg] = l
		}
		failed := lines[c.says]
		check.Equal(t, failed.Operation, "POST /a%2Fb", "operation in the line %s in %s", c.says, log.String())
		check.True(t, failed.Error != "", "no error in the line %s", c.says)
		if c.guard != "" {
			check.Equal(t, failed.Fence, uint64(1), "fence")
			failed.Msg, failed.Error = c.guard, ""
			check.Equal(t, lines[c.guard], failed, "what the guard says: %s", log.String())
		}
	}
}

func TestOperationsInTheLogAreBounded(t *testing.T) {
	var log bytes.Buffer
	s := newSidecar(t, brittle(t), nil, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s.post(t, "/"+strings.Repeat("a", 10_000), "", "tea") // the lines of guarded ones are the guard's too
	s.Close()
	check.True(t, strings.Contains(log.String(), "POST /aaaa"), "the operation is not in the log: %s", log.String())
	check.True(t, log.Len() < 1000, "a path of 10000 letters has %d in the log", log.Len())
}

func TestUpstreamThatIsTooSlowIsInDoubt(t *testing.T) {
	gone := make(chan struct{})
	s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(io.Discard, conn) // until the proxy gives up
		close(gone)
	}), &onceward.Policy{MaxExecution: 50 * time.Millisecond}, nil)
	first := s.post(t, "/orders", "k", "tea")
	check.Equal(t, first.StatusCode, http.StatusGatewayTimeout, "status")
	check.Equal(t, first.code(t), "upstream-timeout", "code")
	within(t, gone, "the connection to be closed")
	check.Equal(t, s.post(t, "/orders", "k", "tea").code(t), "in-doubt", "code of a retry")
}

// deafStore takes no signs of life.
type deafStore struct{ driver.Store }

func (d deafStore) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	if e.Lease > 0 {
		return driver.ErrUnavailable
	}
	return d.Store.Extend(ctx, id, o, e)
}

// Under rerun the request is broken off when its lease is over. That is not the upstream's fault, and is not said to be.
func TestALostLeaseIsNotTheUpstreams(t *testing.T) {
	for last, reason := range map[int]string{2: "the answer says that nobody knows how it ended", 1: "lease-lost"} {
		s := newSidecarOn(t, deafStore{memstore.New(nil)}, listen(t, func(conn *net.TCPConn) {
			_, _ = io.Copy(io.Discard, conn) // until the proxy gives up
		}), &onceward.Policy{OnCrash: onceward.Rerun, MaxAttempts: last, Lease: 300 * time.Millisecond}, &Options{MaxAttempts: last})
		first := s.post(t, "/orders", "k", "tea")
		check.Equal(t, first.code(t), "in-doubt", "code")
		check.Equal(t, strings.Contains(first.body, `"retryable":true`), last > 1, "whether it may be sent again: %s", first.body)
		record, err := s.guard.Lookup(t.Context(), onceward.Key{Scope: "single-tenant", Operation: "POST /orders", Value: "k"})
		check.NoError(t, err, "the record")
		check.Equal(t, record.Note.Reason, reason, "the reason in the record")
	}
}

func TestUpstreamThatDiesAfterItsHeaderLeavesATombstone(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
		if _, err := read(bufio.NewReader(conn)); err == nil {
			calls.Add(1)
		}
		_, _ = io.WriteString(conn, strings.Replace(created, "4", "5", 1))
		_ = conn.Close()
	}), nil, nil)
	response, err := s.Client().Do(s.request(t, http.MethodPost, "/orders", "k", "tea"))
	if err == nil {
		_, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
	}
	check.True(t, err != nil, "the client takes a part for the whole answer")
	again := s.post(t, "/orders", "k", "tea")
	check.Equal(t, again.StatusCode, http.StatusConflict, "status of a retry")
	check.Equal(t, again.code(t), "outcome-not-stored", "code of a retry")
	want := `"outcome":{"reason":"upstream-broke-off","status":201,"location":"/orders/1"}`
	check.True(t, strings.Contains(again.body, want), "a retry is not told %s: %s", want, again.body)
	check.Equal(t, calls.Load(), int64(1), "calls")
}

func TestClientThatLeavesFindsItsAnswer(t *testing.T) {
	var calls atomic.Int64
	entered, leave := make(chan struct{}), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(leave) })
	defer goOn()
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		_, _ = io.WriteString(w, "made")
	}), &onceward.Policy{Wait: 10 * time.Second}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		response, err := s.Client().Do(s.request(t, http.MethodPost, "/orders", "k", "tea").WithContext(ctx))
		if err == nil {
			_ = response.Body.Close()
		}
		ended <- err
	}()
	within(t, entered, "the call")
	cancel()
	check.ErrorIs(t, within(t, ended, "the client to leave"), context.Canceled, "the client")
	retried := make(chan reply)
	go func() { retried <- s.post(t, "/orders", "k", "tea") }()
	goOn()
	again := within(t, retried, "the retry")
	check.Equal(t, again.body, "made", "the retry's answer")
	check.Equal(t, calls.Load(), int64(1), "calls")
}

func TestUnguardedFailures(t *testing.T) {
	s := newSidecar(t, brittle(t), nil, nil)
	answer := s.post(t, "/orders", "", "tea")
	check.Equal(t, answer.StatusCode, http.StatusBadGateway, "status")
	check.Equal(t, answer.Header.Values(headerControl), []string(nil), "a word between the proxy and the guard")
}

func TestCountedWritesCountBeforehand(t *testing.T) {
	near, far := net.Pipe()
	c := newCounted(near)
	wrote := make(chan error)
	go func() { _, err := c.Write([]byte("ab")); wrote <- err }()
	_, err := far.Read(make([]byte, 1)) // the write goes on until the second byte is read
	check.NoError(t, err, "reading")
	check.Equal(t, c.writes.Load(), int64(1), "writes while one is under way")
	check.NoError(t, far.Close(), "closing")
	check.True(t, errors.Is(<-wrote, io.ErrClosedPipe), "the write went through")
	check.Equal(t, c.writes.Load(), int64(1), "writes after one that took a byte")
	_, err = c.Write([]byte("ab"))
	check.ErrorIs(t, err, io.ErrClosedPipe, "a write to nobody")
	check.Equal(t, c.writes.Load(), int64(1), "writes after one that took nothing")
}
