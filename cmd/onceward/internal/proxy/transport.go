package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"time"
)

// newTransport returns a transport that talks to the upstream only: it knows no proxies, follows no redirects, and does not
// unpack what was not packed for it. With h2c it speaks HTTP/2 without TLS; otherwise TLS decides whether it is HTTP/2.
func newTransport(h2c bool, idle, answer time.Duration) *http.Transport {
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}
	var protocols http.Protocols
	protocols.SetHTTP1(!h2c)
	protocols.SetHTTP2(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    5 * time.Second,
		Protocols:              &protocols,
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
	alone  atomic.Pointer[use] // the use that has the connection for itself; nil before the first, and over HTTP/2
	cut    atomic.Pointer[use] // the use in which the upstream stopped reading
}

var errCut = errors.New("the service stopped reading the request before this one")

// Write counts before it writes: whoever asks in between must not hear that nothing was sent.
//
// An upstream may answer before it has read the whole request, and close. The write that fails then must not win over the
// answer, which waits to be read: net/http would give up. So it succeeds, like all that the same request still has to say,
// and whether there is an answer is for Read to find out.
func (c *counted) Write(p []byte) (int, error) {
	alone := c.alone.Load()
	switch c.cut.Load() {
	case nil:
	case alone:
		return len(p), nil
	default:
		return 0, errCut
	}
	c.writes.Add(1)
	n, err := c.Conn.Write(p)
	if n == 0 {
		c.writes.Add(-1)
	}
	if stoppedReading(err) && alone != nil && alone.wrote() {
		c.cut.Store(alone)
		return len(p), nil
	}
	return n, err
}

func stoppedReading(err error) bool {
	return errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// use is the use that a request makes of a connection.
type use struct {
	conn   *counted // nil if it does not count
	before int64    // writes of others
}

// wrote reports whether a byte of the request may have left.
func (u *use) wrote() bool { return u.conn == nil || u.conn.writes.Load() > u.before }

// gotConn is called by the transport, from goroutines of its choice.
func (pass *passage) gotConn(info httptrace.GotConnInfo, h2c bool) {
	conn, shared := info.Conn, h2c
	if secure, ok := conn.(*tls.Conn); ok {
		conn, shared = secure.NetConn(), secure.ConnectionState().NegotiatedProtocol == "h2"
	}
	u := &use{}
	if c, ok := conn.(*counted); ok {
		u.conn, u.before = c, c.writes.Load()
		if !shared {
			c.alone.Store(u)
		}
	}
	pass.use.Store(u)
}

// sent reports whether a byte of the request may have left. Where several requests share a connection (HTTP/2), any of
// them counts, as does what TLS says of its own accord: a doubt too many, never one too few.
func (pass *passage) sent() bool {
	u := pass.use.Load()
	return u != nil && u.wrote()
}
