package testsvc

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// echo is a server that sends back what it gets, and tells what that was.
type echo struct {
	addr string
	got  chan string
	gone chan error    // how a connection ended
	slow chan struct{} // what begins with "slow" is sent back when something is received from it
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.NoError(t, err, "listening")
	e := &echo{listener.Addr().String(), make(chan string, 100), make(chan error, 100), make(chan struct{})}
	var all sync.WaitGroup
	t.Cleanup(func() { _ = listener.Close(); all.Wait() })
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { e.serve(conn) })
		}
	})
	return e
}

func (e *echo) serve(conn net.Conn) {
	defer conn.Close()
	buf := make([]byte, 1<<10)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			e.got <- string(buf[:n])
			if bytes.HasPrefix(buf, []byte("slow")) {
				e.slow <- struct{}{}
			}
			_, _ = conn.Write(buf[:n])
		}
		if err != nil {
			e.gone <- err
			return
		}
	}
}

func newProxy(t *testing.T) (*Proxy, *echo) {
	t.Helper()
	check.NoLeaks(t)
	e := newEcho(t)
	return NewProxy(t, e.addr), e
}

// requests is what to do with a request that has this text.
func requests(text string, a Action) func(Chunk) Action {
	return func(c Chunk) Action {
		if c.Request && bytes.Contains(c.Bytes, []byte(text)) {
			return a
		}
		return Action{}
	}
}

// echoes checks that the connection works.
func (s *session) echoes(text string) {
	s.t.Helper()
	s.send([]byte(text))
	s.receives(text)
}

func (s *session) receives(text string) {
	s.t.Helper()
	got := make([]byte, len(text))
	s.within(10 * time.Second)
	_, err := io.ReadFull(s.in, got)
	check.NoError(s.t, err, "waiting for %q", text)
	check.Equal(s.t, string(got), text, "the echo")
}

// ends checks how the connection ends.
func (s *session) ends(how error) {
	s.t.Helper()
	s.within(10 * time.Second)
	_, err := s.in.ReadByte()
	check.ErrorIs(s.t, err, how, "the end of the connection")
}

func TestProxyPasses(t *testing.T) {
	p, e := newProxy(t)
	c := connect(t, p.Addr)
	c.echoes("tea")
	check.NoError(t, c.conn.(*net.TCPConn).CloseWrite(), "closing one direction")
	c.ends(io.EOF)
	check.Equal(t, <-e.gone, io.EOF, "the end at the server")
	big := strings.Repeat("tea ", 100_000)
	c = connect(t, p.Addr)
	go func() { _, _ = io.WriteString(c.conn, big) }()
	go func() {
		for range e.got { //nolint:revive // so that the server is not held up
		}
	}()
	c.receives(big)
	close(e.got)
}

func TestProxyDelays(t *testing.T) {
	p, e := newProxy(t)
	release := make(chan struct{})
	p.Fault(requests("late", Action{Kind: Delay, Until: release}))
	c := connect(t, p.Addr)
	c.echoes("early")
	check.Equal(t, <-e.got, "early", "what the server got")
	c.send([]byte("late"))
	c.silent()
	check.Equal(t, p.Count(Delay), 0, "delays that are over")
	close(release)
	c.receives("late")
	p.Wait(Delay, 1)

	p.Fault(func(Chunk) Action { return Action{Kind: Delay, After: 30 * time.Millisecond} })
	before := time.Now()
	c.echoes("tea")
	check.True(t, time.Since(before) >= 60*time.Millisecond, "two delays took %v", time.Since(before))
	p.Fault(nil)
	c.echoes("tea")
	check.Equal(t, p.Count(Delay), 3, "delays")
}

func TestProxyIsAHole(t *testing.T) {
	p, e := newProxy(t)
	p.Fault(requests("into", Action{Kind: Hole}))
	c := connect(t, p.Addr)
	c.echoes("before")
	check.Equal(t, <-e.got, "before", "what the server got")
	c.send([]byte("slow"))
	check.Equal(t, <-e.got, "slow", "what the server got before the hole")
	c.send([]byte("into"))
	p.Wait(Hole, 1)
	<-e.slow // it replies to what it got before
	p.Fault(nil)
	c.send([]byte("after"))
	c.silent()
	_ = c.conn.Close()
	connect(t, p.Addr).echoes("another connection")
	check.Equal(t, <-e.got, "another connection", "what the server got next")
	check.Equal(t, len(e.gone), 0, "ends that the server has seen")
}

func TestProxyCutsAndResets(t *testing.T) {
	p, e := newProxy(t)
	p.Fault(func(c Chunk) Action {
		return requests("cut", Action{Kind: map[int]Kind{1: Cut, 2: Reset}[c.Conn]})(c)
	})
	c := connect(t, p.Addr)
	c.send([]byte("cut"))
	c.ends(io.EOF)
	check.Equal(t, <-e.gone, io.EOF, "a cut at the server")
	c = connect(t, p.Addr)
	c.send([]byte("cut"))
	c.ends(syscall.ECONNRESET)
	check.ErrorIs(t, <-e.gone, syscall.ECONNRESET, "a reset at the server")
	p.Wait(Cut, 1)
	p.Wait(Reset, 1)

	one, other := connect(t, p.Addr), connect(t, p.Addr)
	one.echoes("one")
	other.echoes("other")
	p.Cut()
	one.ends(io.EOF)
	other.ends(io.EOF)
	check.Equal(t, p.Count(Cut), 3, "cuts")
	connect(t, p.Addr).echoes("another connection")
}

func TestProxyRefuses(t *testing.T) {
	p, _ := newProxy(t)
	c := connect(t, p.Addr)
	c.echoes("before")
	p.Refuse()
	refused(t, p.Addr)
	c.echoes("a connection that was open")
	p.Accept()
	connect(t, p.Addr).echoes("after")
}

func TestProxyOfAServerThatIsGoneResets(t *testing.T) {
	p := NewProxy(t, "127.0.0.1:1")
	conn, err := net.Dial("tcp", p.Addr)
	if err == nil { // the reset was not faster
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	check.ErrorIs(t, err, syscall.ECONNRESET, "what the client sees")
}

func TestProxyDropsReplies(t *testing.T) {
	for _, hang := range []bool{false, true} {
		p, e := newProxy(t)
		p.Fault(requests("COMMIT", Action{Kind: DropReply, Hang: hang}))
		c := connect(t, p.Addr)
		c.echoes("BEGIN")
		c.send([]byte("COMMIT"))
		p.Wait(DropReply, 1)
		check.Equal(t, []string{<-e.got, <-e.got}, []string{"BEGIN", "COMMIT"}, "what the server got")
		if hang {
			c.send([]byte("ROLLBACK"))
			check.Equal(t, <-e.got, "ROLLBACK", "what the server got from who waits for a reply")
			c.silent()
			check.Equal(t, len(e.gone), 0, "ends that the server has seen")
			check.Equal(t, p.Count(DropReply), 1, "replies counted of a connection that lost one")
			_ = c.conn.Close()
		} else {
			c.ends(io.EOF)
		}
		check.Equal(t, <-e.gone, io.EOF, "the end at the server")
	}

	p, e := newProxy(t) // chosen by the reply
	p.Fault(func(c Chunk) Action {
		if !c.Request && bytes.Contains(c.Bytes, []byte("COMMIT")) {
			return Action{Kind: DropReply}
		}
		return Action{}
	})
	c := connect(t, p.Addr)
	c.echoes("BEGIN")
	c.send([]byte("COMMIT"))
	c.ends(io.EOF)
	check.Equal(t, p.Count(DropReply), 1, "dropped replies")
	check.Equal(t, []string{<-e.got, <-e.got}, []string{"BEGIN", "COMMIT"}, "what the server got")
}

func TestProxyDeliversLate(t *testing.T) {
	for name, leave := range map[string]func(*Proxy, *session){
		"cut at once":        func(_ *Proxy, c *session) { c.ends(io.EOF) },
		"the client's limit": func(_ *Proxy, c *session) { c.silent(); _ = c.conn.Close() },
		"cut later":          func(p *Proxy, c *session) { p.Cut(); c.ends(io.EOF) },
	} {
		t.Run(name, func(t *testing.T) {
			p, e := newProxy(t)
			release := make(chan struct{})
			p.Fault(requests("late", Action{Kind: Late, Until: release, Hang: name != "cut at once"}))
			c := connect(t, p.Addr)
			c.send([]byte("late"))
			p.Wait(Late, 1)
			leave(p, c)
			connect(t, p.Addr).echoes("its successor")
			check.Equal(t, <-e.got, "its successor", "what the server got first")
			check.Equal(t, p.Count(Arrived), 0, "arrivals")
			close(release)
			p.Wait(Arrived, 1)
			check.Equal(t, <-e.got, "late", "what the server got at last")
		})
	}
	p, e := newProxy(t)
	p.Fault(requests("late", Action{Kind: Late, After: time.Millisecond}))
	connect(t, p.Addr).send([]byte("late"))
	p.Wait(Arrived, 1)
	check.Equal(t, <-e.got, "late", "what the server got")
}

func TestWhatIsHeldEndsWithTheProxy(t *testing.T) {
	e := newEcho(t)
	_, failed := attempt(t, func(tb testing.TB) {
		p := NewProxy(tb, e.addr)
		p.Fault(requests("held", Action{Kind: Late, After: time.Hour}))
		c := connect(t, p.Addr)
		c.send([]byte("held"))
		p.Wait(Late, 1)
	})
	check.True(t, !failed, "it failed")
	check.Equal(t, <-e.gone, io.EOF, "the end at the server")
	check.Equal(t, len(e.got), 0, "what the server got")
}

func TestWrongActionFailsTheTest(t *testing.T) {
	e := newEcho(t)
	said, failed := attempt(t, func(tb testing.TB) {
		p := NewProxy(tb, e.addr)
		p.Fault(func(Chunk) Action { return Action{Kind: Arrived} })
		connect(t, p.Addr).echoes("tea")
	})
	check.True(t, failed && strings.Contains(said, "Arrived is nothing that can happen"), "said: %s", said)
}
