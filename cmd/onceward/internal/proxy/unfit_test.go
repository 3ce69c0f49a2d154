package proxy

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// raw sends a request as it is written and returns the status line of the answer.
func (s *sidecar) raw(t *testing.T, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	check.NoError(t, err, "connecting")
	defer conn.Close()
	check.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)), "a deadline")
	_, err = conn.Write([]byte(strings.ReplaceAll(request, "\n", "\r\n") + "\r\n\r\n"))
	check.NoError(t, err, "sending")
	line, err := bufio.NewReader(conn).ReadString('\n')
	check.NoError(t, err, "the answer")
	return strings.TrimSpace(line)
}

// A client must neither choose the host, nor take a field away from the service that we have looked at, guarded or not.
func TestUnfitRequestsDoNotReachTheService(t *testing.T) {
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(http.ResponseWriter, *http.Request) {}), nil, nil)
	const host = "\nHost: a.example\nContent-Length: 0"
	for _, request := range []string{
		"GET x:http://evil/admin HTTP/1.1" + host,
		"POST x:http://evil/admin HTTP/1.1\nIdempotency-Key: k" + host,
		"POST * HTTP/1.1\nIdempotency-Key: k" + host,
		"GET /a HTTP/1.1\nAuthorization: Bearer t\nConnection: authorization" + host,
		"PUT /a HTTP/1.1\nIdempotency-Key: k\nConnection: close, Idempotency-Key" + host,
		"POST /a HTTP/1.1\nIdempotency-Key: k\nX-User: ann\nConnection: X-User" + host,
	} {
		check.Equal(t, s.raw(t, request), "HTTP/1.1 400 Bad Request", "%s", request)
	}
	check.Equal(t, calls.Load(), int64(0), "calls")
	fit := "POST /a HTTP/1.1\nIdempotency-Key: k\nX-User: ann\nConnection: close, X-Absent" + host
	check.Equal(t, s.raw(t, fit), "HTTP/1.1 200 OK", "the same key after it was refused")
	check.Equal(t, calls.Load(), int64(1), "calls")
}

// The path of --to is all that the service offers to the proxy's clients.
func TestTargetsThatLeadUpwards(t *testing.T) {
	var calls atomic.Int64
	targets := make(chan string, 1)
	to := service(t, &calls, func(_ http.ResponseWriter, r *http.Request) { targets <- r.RequestURI })
	within, free := newSidecar(t, to+"/api", nil, nil), newSidecar(t, to, nil, nil)
	const request = "POST %s HTTP/1.1\nHost: a.example\nIdempotency-Key: k\nContent-Length: 0"
	for _, up := range []string{
		"/..", "/../admin", "/a/../../admin", "/%2e%2E/admin", "/.%2e/admin", "/..%2fadmin", "/a%2F..%2f..%2Fadmin", "/..;a=b/admin",
		`/..\admin`, "/a%5C..%5cadmin", "http://a.example/../admin",
	} {
		check.Equal(t, within.raw(t, fmt.Sprintf(request, up)), "HTTP/1.1 400 Bad Request", "%s", up)
	}
	check.Equal(t, calls.Load(), int64(0), "calls")
	for _, down := range []string{"/", "/a/./b", "/...", "/..a/a..", "/a..b", "/a?b=/../c"} {
		check.Equal(t, within.raw(t, fmt.Sprintf(request, down)), "HTTP/1.1 200 OK", "%s", down)
		check.Equal(t, <-targets, "/api"+down, "what the service gets")
	}
	check.Equal(t, free.raw(t, fmt.Sprintf(request, "/../admin")), "HTTP/1.1 200 OK", "where there is nothing to leave")
	check.Equal(t, <-targets, "/../admin", "what the service gets")
}

func TestDisguisedFieldsAndTunnelsAreRemoved(t *testing.T) {
	var calls atomic.Int64
	got := make(chan http.Header, 1)
	s := newSidecar(t, service(t, &calls, func(_ http.ResponseWriter, r *http.Request) { got <- r.Header }), nil, nil)
	r := s.request(t, http.MethodGet, "/a", "", "")
	r.Header["Idempotency_Fence"] = []string{"99"}
	r.Header["x_forwarded_for"] = []string{"203.0.113.1"}
	r.Header["X_Other"] = []string{"kept"}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "h2c")
	s.do(t, r)
	header := within(t, got, "the request")
	check.Equal(t, header["X_other"], []string{"kept"}, "a field with an underscore")
	check.Equal(t, header["Idempotency_fence"], []string(nil), "Idempotency_Fence")
	check.Equal(t, header["X_forwarded_for"], []string(nil), "x_forwarded_for")
	check.Equal(t, header["Upgrade"], []string(nil), "Upgrade")
}

// 0 would mean that connections are kept for ever, which is the opposite of what is asked for.
func TestIdleTimesAreNeverForEver(t *testing.T) {
	for idle, want := range map[time.Duration]time.Duration{-1: -1, 1: 1, 2 * time.Second: time.Second} {
		check.Equal(t, half(idle), want, "half of %v", idle)
	}
	var calls atomic.Int64
	addresses := make(chan string, 2)
	s := newSidecar(t, service(t, &calls, func(_ http.ResponseWriter, r *http.Request) { addresses <- r.RemoteAddr }), nil,
		&Options{UpstreamIdle: -1})
	s.post(t, "/a", "k-1", "")
	s.post(t, "/a", "k-2", "")
	first, second := <-addresses, <-addresses
	check.True(t, first != second, "two guarded requests shared a connection")
}
