package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// newTransport returns a transport that talks to the upstream only: it knows no proxies, follows no redirects, and does not
// unpack what was not packed for it.
func newTransport(idle, answer time.Duration) *http.Transport {
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      idle < 0,
		IdleConnTimeout:        max(idle, 0),
		MaxIdleConnsPerHost:    1024,
		ResponseHeaderTimeout:  answer,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// roundTrip keeps guarded requests away from connections that were unused for long, and from everybody else's.
func (p *Proxy) roundTrip(r *http.Request) (*http.Response, error) {
	if passageOf(r.Context()).attempt != nil {
		return p.guarded.RoundTrip(r)
	}
	return p.plain.RoundTrip(r)
}

type dial func(ctx context.Context, network, addr string) (net.Conn, error)

// countWrites makes connections that know whether they took anything to send.
func countWrites(connect dial) dial {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := connect(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &counted{Conn: conn}, nil
	}
}

// counted counts the writes that took at least one byte.
type counted struct {
	net.Conn

	writes atomic.Int64
}

// Write counts before it writes: whoever asks in between must not hear that nothing was sent.
func (c *counted) Write(p []byte) (int, error) {
	c.writes.Add(1)
	n, err := c.Conn.Write(p)
	if n == 0 {
		c.writes.Add(-1)
	}
	return n, err
}

// use is the use that a request makes of a connection.
type use struct {
	conn   *counted // nil if it does not count
	before int64    // writes of others
}

// gotConn is called by the transport, from goroutines of its choice.
func (pass *passage) gotConn(info httptrace.GotConnInfo) {
	conn := info.Conn
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	u := &use{}
	if c, ok := conn.(*counted); ok {
		u.conn, u.before = c, c.writes.Load()
	}
	pass.use.Store(u)
}

// sent reports whether a byte of the request may have left. Where several requests share a connection (HTTP/2), any of
// them counts, as does what TLS says of its own accord: a doubt too many, never one too few.
func (pass *passage) sent() bool {
	u := pass.use.Load()
	return u != nil && (u.conn == nil || u.conn.writes.Load() > u.before)
}
