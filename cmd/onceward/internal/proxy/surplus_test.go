package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// twice is a service that gives each answer two times, at once. An answer is the request's key and what fills it up.
func twice(t *testing.T, scheme, fill string) (to string) {
	t.Helper()
	serve := func(conn net.Conn) {
		defer conn.Close()
		in := bufio.NewReader(conn)
		for {
			r, err := read(in)
			if err != nil {
				return
			}
			body := r.Header.Get("Idempotency-Key") + fill
			answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			_, _ = io.WriteString(conn, answer+answer)
		}
	}
	if scheme == "https" {
		return secured(t, false, serve)
	}
	return listen(t, func(conn *net.TCPConn) { serve(conn) })
}

// The next request on the connection must not get the second one. Of the larger answers net/http reads no byte too many.
func TestSurplusAnswersNobody(t *testing.T) {
	const clients, rounds = 16, 25
	for _, scheme := range []string{"http", "https"} {
		for _, size := range []int{0, 9000} {
			fill := strings.Repeat("x", size)
			s := newSidecar(t, twice(t, scheme, fill), nil, nil)
			s.proxy.guarded.MaxConnsPerHost = 2 // so that requests wait for connections, and get them at once
			var all sync.WaitGroup
			for client := range clients {
				all.Go(func() {
					for round := range rounds {
						key := fmt.Sprintf("k-%d-%d-", client, round)
						answer := s.post(t, "/orders", key, "tea")
						if answer.StatusCode == http.StatusOK && answer.body != key+fill {
							t.Errorf("%s, %d bytes: %s got the answer %.20q", scheme, size, key, answer.body)
						}
					}
				})
			}
			all.Wait()
		}
	}
}

// answeredOnce is a connection, and its other end, on which a request was answered by the first byte that the service said.
func answeredOnce(t *testing.T, says string) (c *counted, far net.Conn) {
	t.Helper()
	near, far := net.Pipe()
	t.Cleanup(func() { _, _ = near.Close(), far.Close() })
	c = newCounted(near)
	(&passage{}).gotConn(t.Context(), httptrace.GotConnInfo{Conn: c}, false)
	go func() {
		_, _ = far.Read(make([]byte, 1))
		_, _ = io.WriteString(far, says)
	}()
	_, err := c.Write([]byte("q"))
	check.NoError(t, err, "the first request")
	_, err = c.Read(make([]byte, 1))
	check.NoError(t, err, "its answer")
	return c, far
}

// next gives the connection to the next request.
func next(t *testing.T, c *counted) (pass *passage, ready chan struct{}) {
	t.Helper()
	pass, ready = &passage{}, make(chan struct{})
	go func() {
		pass.gotConn(t.Context(), httptrace.GotConnInfo{Conn: c}, false)
		close(ready)
	}()
	synctest.Wait()
	return pass, ready
}

func isReady(ready chan struct{}) bool {
	synctest.Wait()
	select {
	case <-ready:
		return true
	default:
		return false
	}
}

// Until net/http has found the surplus and closed the connection, it must not expect another answer.
func TestRequestsWaitUntilSurplusIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := answeredOnce(t, "a and more")
		pass, ready := next(t, c)
		_, err := c.Read(make([]byte, 1))
		check.ErrorIs(t, err, errSurplus, "reading")
		check.Equal(t, isReady(ready), false, "whether the request is let go on")
		check.NoError(t, c.Close(), "closing")
		check.Equal(t, isReady(ready), true, "whether it is let go on then")
		check.Equal(t, pass.sent(), false, "whether it was sent")
	})
}

func TestSurplusBeforeTheRequestIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, far := answeredOnce(t, "a")
		pass, ready := next(t, c)
		check.Equal(t, isReady(ready), false, "whether the request is let go on, while nobody reads")
		refused := make(chan error)
		go func() {
			_, err := c.Read(make([]byte, 1))
			refused <- err
		}()
		check.Equal(t, isReady(ready), true, "whether it is let go on, while somebody reads")
		_, err := io.WriteString(far, "more")
		check.NoError(t, err, "the service goes on")
		check.ErrorIs(t, <-refused, errSurplus, "reading")
		check.Equal(t, pass.sent(), false, "whether the request was sent")
	})
}

func TestWaitingForTheReaderEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		c := newCounted(near)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 2 {
			(&passage{}).gotConn(ctx, httptrace.GotConnInfo{Conn: c}, false)
		}
		check.ErrorIs(t, ctx.Err(), context.DeadlineExceeded, "the request that nobody reads for")
		_, _ = near.Close(), far.Close()
	})
}

// It may be sent at any moment, so that its key is not free.
func TestAnswerToARequestThatWasNotSentIsInDoubt(t *testing.T) {
	s := newSidecar(t, "http://"+vacant(t), nil, nil)
	near, far := net.Pipe()
	defer far.Close()
	conn := newCounted(near)
	s.proxy.reverse.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{Conn: conn})
		return &http.Response{StatusCode: http.StatusOK, Request: r, Body: http.NoBody}, nil
	})
	check.Equal(t, s.post(t, "/orders", "k", "tea").code(t), "upstream-failed", "code")
	check.Equal(t, s.post(t, "/orders", "k", "tea").code(t), "in-doubt", "code of a retry")
}

// Without kept connections, what comes too late reaches nobody either.
func TestLateSurplusNeedsAKeptConnection(t *testing.T) {
	s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
		defer conn.Close()
		in := bufio.NewReader(conn)
		for {
			r, err := read(in)
			if err != nil {
				return
			}
			key := r.Header.Get("Idempotency-Key")
			answer := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(key), key)
			_, _ = io.WriteString(conn, answer)
			_, _ = in.Peek(1) // until the next request, if there is one
			_, _ = io.WriteString(conn, answer)
		}
	}), nil, &Options{UpstreamIdle: -1})
	for i := range 10 {
		key := fmt.Sprint("k-", i)
		check.Equal(t, s.post(t, "/orders", key, "tea").body, key, "the answer")
	}
}
