package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
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
		return newCounted(conn), nil
	}
}

func newCounted(conn net.Conn) *counted {
	return &counted{Conn: conn, in: bufio.NewReaderSize(conn, 16<<10)}
}

// counted counts the writes that took at least one byte.
type counted struct {
	net.Conn

	writes atomic.Int64
	alone  atomic.Pointer[use] // the use that has the connection for itself; nil before the first, and over HTTP/2
	cut    atomic.Pointer[use] // the use in which the upstream stopped reading

	in    *bufio.Reader // takes what is there, so that what comes along with an answer does not look like the next one
	early atomic.Bool   // the connection is another request's already, of which nothing was sent
	mu    sync.Mutex
	taken bool          // all that the upstream has said was taken, or nobody will take it
	wake  chan struct{} // of the request that waits for that
}

const (
	errCut     = plain("the service stopped reading the request before this one")
	errSurplus = plain("the service said more than its answer to the request before this one")
	errUnasked = plain("the service answered before it was asked")
)

// Read refuses what comes between two requests. net/http closes a connection on which that happens, but not if it has just
// given it to the next request, which would get a false answer.
func (c *counted) Read(p []byte) (int, error) {
	if c.in.Buffered() == 0 {
		c.setTaken(true)
		if _, err := c.in.Peek(1); err != nil {
			return 0, err
		}
		c.setTaken(false)
	}
	if c.early.Load() {
		return 0, errSurplus
	}
	return c.in.Read(p)
}

func (c *counted) Close() error {
	c.setTaken(true)
	return c.Conn.Close()
}

func (c *counted) setTaken(taken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken = taken
	if taken && c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// awaitReader returns once net/http waits for what comes next. If some of what came before is left, it closes the connection
// instead.
func (c *counted) awaitReader(ctx context.Context) {
	c.mu.Lock()
	if c.taken {
		c.mu.Unlock()
		return
	}
	wake := make(chan struct{})
	c.wake = wake
	c.mu.Unlock()
	select {
	case <-wake:
	case <-ctx.Done():
	}
}

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
	c.early.Store(false)
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

// gotConn is called by the transport, from goroutines of its choice. Over HTTP/1 it is the one that goes on to send the
// request, so that nothing is expected from the connection before gotConn returns.
func (pass *passage) gotConn(ctx context.Context, info httptrace.GotConnInfo, h2c bool) {
	conn, shared := info.Conn, h2c
	if secure, ok := conn.(*tls.Conn); ok {
		conn, shared = secure.NetConn(), secure.ConnectionState().NegotiatedProtocol == "h2"
	}
	u := &use{}
	if c, ok := conn.(*counted); ok {
		if !shared && c.alone.Load() != nil {
			c.early.Store(true)
			c.awaitReader(ctx)
		}
		u.conn, u.before = c, c.writes.Load() // a TLS connection that was closed has said so
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
