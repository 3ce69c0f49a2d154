package proxy

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

// sidecar is a guarded proxy on a loopback port.
type sidecar struct {
	*httptest.Server
	proxy *Proxy
	guard *onceward.Guard
}

// newSidecar guards the service at to. Policy and opts may be nil.
func newSidecar(t *testing.T, to string, policy *onceward.Policy, opts *Options) *sidecar {
	t.Helper()
	return newSidecarOn(t, memstore.New(nil), to, policy, opts)
}

func newSidecarOn(t *testing.T, store driver.Store, to string, policy *onceward.Policy, opts *Options) *sidecar {
	t.Helper()
	target, err := url.Parse(to)
	check.NoError(t, err, "the upstream's URL")
	o := Options{Logger: slog.New(slog.DiscardHandler)}
	if opts != nil {
		quiet := o.Logger
		o = *opts
		o.Logger = cmp.Or(o.Logger, quiet)
	}
	guard, err := onceward.New(store, &onceward.Options{Logger: o.Logger})
	check.NoError(t, err, "guard")
	s := &sidecar{proxy: New(target, &o), guard: guard}
	for _, transport := range []*http.Transport{s.proxy.guarded, s.proxy.plain} {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // the tests' own certificate
	}
	once := oncehttp.New(guard, oncehttp.SingleTenant, &oncehttp.Options{Policy: policy})
	s.Server = httptest.NewServer(CutOffIdle(once(s.proxy), 0))
	client := s.Client().Transport.(*http.Transport)
	client.DisableCompression = true // or it would ask for it itself
	client.ResponseHeaderTimeout = 10 * time.Second
	t.Cleanup(func() {
		s.Close()
		check.NoError(t, guard.Close(context.Background()), "closing the guard")
		s.proxy.plain.CloseIdleConnections()
		s.proxy.guarded.CloseIdleConnections()
	})
	return s
}

type reply struct {
	*http.Response
	body string
}

// code is the code of a problem.
func (r reply) code(t *testing.T) string {
	t.Helper()
	var problem struct{ Code string }
	check.NoError(t, json.Unmarshal([]byte(r.body), &problem), "a problem in %d %s", r.StatusCode, r.body)
	return problem.Code
}

func (s *sidecar) request(t *testing.T, method, path, key, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	check.NoError(t, err, "request")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	return r
}

func (s *sidecar) do(t *testing.T, r *http.Request) reply {
	t.Helper()
	response, err := s.Client().Transport.RoundTrip(r)
	check.NoError(t, err, "%s %s", r.Method, r.URL.Path)
	body, err := io.ReadAll(response.Body)
	check.NoError(t, err, "the answer's body")
	check.NoError(t, response.Body.Close(), "closing the answer's body")
	return reply{response, string(body)}
}

func (s *sidecar) post(t *testing.T, path, key, body string) reply {
	t.Helper()
	return s.do(t, s.request(t, http.MethodPost, path, key, body))
}

// service is an upstream on a loopback port that counts what it gets.
func service(t *testing.T, calls *atomic.Int64, handle http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		handle(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// secured is a port whose connections are TLS, and speak HTTP/2 if h2 is set. It returns the port's URL.
func secured(t *testing.T, h2 bool, handle func(conn net.Conn)) string {
	t.Helper()
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	config := certificate.TLS.Clone()
	certificate.Close()
	config.NextProtos = nil
	if h2 {
		config.NextProtos = []string{"h2"}
	}
	to := listen(t, func(conn *net.TCPConn) { handle(tls.Server(conn, config)) })
	return strings.Replace(to, "http", "https", 1)
}

// listen calls handle with each connection to a port, and returns the port's URL.
func listen(t *testing.T, handle func(conn *net.TCPConn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.NoError(t, err, "listening")
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go handle(conn.(*net.TCPConn))
		}
	}()
	return "http://" + listener.Addr().String()
}

// read reads one request, with its body.
func read(in *bufio.Reader) (*http.Request, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(io.Discard, r.Body)
	return r, err
}

const created = "HTTP/1.1 201 Created\r\nLocation: /orders/1\r\nContent-Length: 4\r\n\r\nmade"

// within fails the test if ch has nothing in ten seconds.
func within[T any](t *testing.T, ch <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}
