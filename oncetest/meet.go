package oncetest

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// grace is how long a request is held up for something that may never come: a handler may well read no body until another
// one is done.
const grace = 250 * time.Millisecond

// crowd lets requests meet twice, so that "at once" does not depend on luck: at the handler's door, and when it reads their
// bodies. Whoever looked the key up by then looked before anybody acted.
type crowd struct {
	doors, bodies *meeting
}

func newCrowd(size int) *crowd { return &crowd{newMeeting(size), newMeeting(size)} }

func (c *crowd) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrive := sync.OnceFunc(c.bodies.arrive)
		defer arrive() // a handler that refuses a duplicate need not read its body
		meet := sync.OnceFunc(func() {
			arrive()
			c.bodies.wait()
		})
		if r.Body != http.NoBody {
			r.Body = &body{ReadCloser: r.Body, before: meet}
		}
		c.doors.arrive()
		c.doors.wait()
		next.ServeHTTP(w, r)
	})
}

// meeting is where so many wait until all are there, or one has waited long enough. Those who come later do not wait.
type meeting struct {
	missing atomic.Int64
	over    chan struct{}
	end     func()
}

func newMeeting(size int) *meeting {
	m := &meeting{over: make(chan struct{})}
	m.end = sync.OnceFunc(func() { close(m.over) })
	m.missing.Store(int64(size))
	return m
}

func (m *meeting) arrive() {
	if m.missing.Add(-1) == 0 {
		m.end()
	}
}

func (m *meeting) wait() {
	select {
	case <-m.over:
	case <-time.After(grace):
		m.end()
	}
}

// visit is the first request, whose client leaves.
type visit struct {
	hold    bool          // let the handler go on only when the server knows that the client has left
	entered chan struct{} // closed when the handler is called
	read    chan struct{} // closed when it has read the request, or returned without doing so
	taken   atomic.Bool
}

func newVisit() *visit { return &visit{entered: make(chan struct{}), read: make(chan struct{})} }

func (v *visit) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v.taken.Swap(true) {
			next.ServeHTTP(w, r)
			return
		}
		close(v.entered)
		read := sync.OnceFunc(func() { close(v.read) })
		defer read()
		left := r.Context().Done()
		leaves := sync.OnceFunc(func() {
			read()
			if v.hold {
				select {
				case <-left:
				case <-time.After(grace):
				}
			}
		})
		if r.Body == http.NoBody {
			leaves()
		} else {
			r.Body = &body{ReadCloser: r.Body, after: leaves}
		}
		next.ServeHTTP(w, r)
	})
}

// body calls before its first byte is read, or after its last.
type body struct {
	io.ReadCloser

	before, after func()
}

func (b *body) Read(p []byte) (int, error) {
	if b.before != nil {
		b.before()
	}
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF && b.after != nil {
		b.after()
	}
	return n, err
}
