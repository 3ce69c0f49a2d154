package proxy

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// CutOffIdle returns next, without the clients that stall: one of which no byte arrives although its body is being read, or
// to which no byte can be sent, for the time of idle, is cut off, so that it holds neither a connection nor the end of the
// process. Zero means 60 s. However long next takes in between is not the client's fault.
//
// It has to stand outermost. What next sets as a deadline itself (see http.ResponseController) holds too; hijacked
// connections are left alone. A system whose buffers are full may wait until a good part of them was taken, so a client that
// takes very little at a time is cut off as well.
func CutOffIdle(next http.Handler, idle time.Duration) http.Handler {
	idle = cmp.Or(idle, time.Minute)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		c := &client{
			ResponseWriter: w, control: control, idle: idle,
			read:     deadline{set: control.SetReadDeadline},
			write:    deadline{set: control.SetWriteDeadline},
			received: r.Body == nil || r.Body == http.NoBody,
		}
		if !c.received {
			r = r.WithContext(r.Context()) // the server's own request keeps its body
			r.Body = &upload{ReadCloser: r.Body, client: c}
		}
		defer c.leave()
		next.ServeHTTP(c, r)
	})
}

// deadline is that of one direction of a connection.
type deadline struct {
	set   func(time.Time) error
	limit time.Time // by the handler; zero is none
	waits int       // calls that wait for the client
	fixed bool      // it is not moved any more
}

func (d *deadline) move(t time.Time) error {
	if d.fixed {
		return nil
	}
	return d.set(t)
}

// until moves the deadline to t, or to the handler's if that is earlier.
func (d *deadline) until(t time.Time) error {
	if !d.limit.IsZero() && d.limit.Before(t) {
		t = d.limit
	}
	return d.move(t)
}

// wait is called before one waits for the client, until t at most.
func (d *deadline) wait(t time.Time) {
	d.waits++
	_ = d.until(t) // a server that knows no deadlines has to bound its clients itself
}

// done is called after wait.
func (d *deadline) done() {
	d.waits--
	if d.waits == 0 {
		_ = d.move(d.limit)
	}
}

// client is the ResponseWriter of a request whose client is watched.
type client struct {
	http.ResponseWriter

	control *http.ResponseController
	idle    time.Duration

	mu          sync.Mutex
	read, write deadline
	received    bool // the whole body, or as much as there will be
	hijacked    bool
	left        bool // next has returned: the connection is the server's, and perhaps another request's
}

// during calls f, which sends to the client.
func (c *client) during(f func()) {
	reads := c.before()
	f()
	c.after(reads)
}

func (c *client) before() (reads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left || c.hijacked {
		return false
	}
	read, write := c.patience()
	c.write.wait(write)
	if !c.received {
		c.read.wait(read)
	}
	return !c.received
}

// patience is until when a client is waited for that is sent something. Before net/http sends the header of an answer it
// reads what is left of the body, or a part of it.
func (c *client) patience() (read, write time.Time) {
	read = time.Now().Add(c.idle)
	if c.received {
		return read, read
	}
	return read, read.Add(c.idle)
}

func (c *client) after(reads bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left || c.hijacked {
		return
	}
	c.write.done()
	if reads && !c.received {
		c.read.done()
	}
}

// leave leaves a deadline for what net/http has still to send, and to read of the body. It sets its own before the next
// request.
func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	if c.hijacked {
		return
	}
	read, write := c.patience()
	_ = c.write.until(write)
	if !c.received {
		_ = c.read.until(read)
	}
}

// WriteHeader sends informational statuses at once.
func (c *client) WriteHeader(status int) {
	c.during(func() { c.ResponseWriter.WriteHeader(status) })
}

// Write gives the client the time for each piece, not for all of p.
func (c *client) Write(p []byte) (n int, err error) {
	for {
		c.during(func() {
			var m int
			m, err = c.ResponseWriter.Write(p[n:min(n+bufferSize, len(p))])
			n += m
		})
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

func (c *client) FlushError() (err error) {
	c.during(func() { err = c.control.Flush() })
	return err
}

func (c *client) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := c.control.Hijack() // which takes the deadlines away
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.hijacked = true
	}
	return conn, buffered, err
}

func (c *client) SetReadDeadline(t time.Time) error  { return c.limit(&c.read, t) }
func (c *client) SetWriteDeadline(t time.Time) error { return c.limit(&c.write, t) }

func (c *client) limit(d *deadline, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	d.limit = t
	if d.waits == 0 || c.hijacked {
		return d.move(t)
	}
	return d.until(time.Now().Add(c.idle))
}

// Unwrap is for http.ResponseController.
func (c *client) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// upload is the body of a request whose client is watched.
type upload struct {
	io.ReadCloser

	client *client
}

func (u *upload) Read(p []byte) (int, error) {
	if !u.before() {
		return u.ReadCloser.Read(p)
	}
	n, err := u.ReadCloser.Read(p)
	u.after(err)
	return n, err
}

// Close may read what is left.
func (u *upload) Close() error {
	if !u.before() {
		return u.ReadCloser.Close()
	}
	err := u.ReadCloser.Close()
	u.after(cmp.Or(err, io.EOF))
	return err
}

func (u *upload) before() bool {
	c := u.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left || c.hijacked || c.received {
		return false
	}
	c.read.wait(time.Now().Add(c.idle))
	return true
}

func (u *upload) after(err error) {
	c := u.client
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.left || c.hijacked || c.received:
	case err == nil:
		c.read.done()
	case errors.Is(err, io.EOF):
		// From now on net/http waits for the client to leave, for which it has taken the deadline away.
		c.received, c.read.waits, c.read.limit = true, 0, time.Time{}
		_ = c.read.move(time.Time{})
	default:
		c.received, c.read.fixed = true, true // or net/http would wait for the rest
	}
}
