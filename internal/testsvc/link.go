package testsvc

import (
	"context"
	"net"
	"sync"
	"time"
)

// link is a connection of a client and the one to the server that belongs to it.
type link struct {
	proxy  *Proxy
	number int
	client *net.TCPConn

	mu     sync.Mutex
	server *net.TCPConn // nil until there is one
	closed bool
	held   bool    // a Late request is on its way, which outlives its client
	mute   [2]bool // by direction: nothing passes, for good
	lost   Action  // DropReply or Late: what is done when the reply comes
}

const (
	toClient = iota
	toServer
)

func (l *link) run() {
	defer l.proxy.forget(l)
	dialer := net.Dialer{Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(l.proxy.ctx, "tcp", l.proxy.target)
	if err != nil {
		l.reset()
		return
	}
	server := conn.(*net.TCPConn) //nolint:forcetypeassert // of a TCP dial
	l.mu.Lock()
	l.server = server
	closed := l.closed
	l.mu.Unlock()
	defer l.close()
	if closed {
		return // it was cut before there was anything to cut
	}
	var replies sync.WaitGroup
	replies.Go(func() { l.pump(toClient, server, l.client) })
	l.pump(toServer, l.client, server)
	replies.Wait()
}

// pump hands on what comes in, and at last that nothing more comes.
func (l *link) pump(direction int, from, to *net.TCPConn) {
	buf := make([]byte, 64<<10)
	for number := 1; ; number++ {
		n, err := from.Read(buf)
		if n > 0 && l.pass(direction, Chunk{l.number, number, direction == toServer, buf[:n]}) {
			_, _ = to.Write(buf[:n]) // if it fails, the other direction sees why
		}
		if err != nil {
			break
		}
	}
	if !l.muted(direction) {
		_ = to.CloseWrite()
	}
}

// pass lets happen to the chunk what the test wants, and reports whether it is to be written.
func (l *link) pass(direction int, c Chunk) bool {
	if l.muted(direction) {
		if direction == toClient {
			l.reply()
		}
		return false
	}
	p, a := l.proxy, l.proxy.decide(c)
	switch a.Kind {
	case Pass:
		return true
	case Delay:
		on := a.wait(p.ctx)
		p.count(Delay)
		return on
	case Hole:
		l.silence(toClient, toServer)
		p.count(Hole)
	case Cut:
		p.count(Cut)
		l.close()
	case Reset:
		p.count(Reset)
		l.reset()
	case DropReply:
		l.lose(a)
		if c.Request {
			return true
		}
		l.reply()
	case Late:
		if c.Request {
			return l.late(a)
		}
		fallthrough
	default:
		p.t.Errorf("%v is nothing that can happen to a chunk with Request = %v", a.Kind, c.Request)
		return true
	}
	return false
}

// late holds a request back, and lets it go on when its client has long been told that the connection is gone.
func (l *link) late(a Action) bool {
	l.lose(a)
	l.mu.Lock()
	l.held = true
	l.mu.Unlock()
	l.proxy.count(Late)
	if !a.Hang {
		_ = l.client.Close()
	}
	return a.wait(l.proxy.ctx)
}

// lose prepares for a reply that the client will not see.
func (l *link) lose(a Action) {
	l.silence(toClient)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = a
}

// reply is called for each chunk that the server sends and the client does not get.
func (l *link) reply() {
	l.mu.Lock()
	a := l.lost
	l.lost = Action{}
	l.mu.Unlock()
	switch a.Kind {
	case DropReply:
		l.proxy.count(DropReply)
		if !a.Hang {
			_ = l.client.Close() // the server is told by the other pump, and goes on for as long as it likes
		}
	case Late:
		l.proxy.count(Arrived)
	default:
	}
}

func (l *link) silence(directions ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, d := range directions {
		l.mute[d] = true
	}
}

func (l *link) muted(direction int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mute[direction]
}

func (l *link) open() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed
}

func (l *link) cut() {
	l.mu.Lock()
	held := l.held
	l.mu.Unlock()
	if held {
		_ = l.client.Close()
		return
	}
	l.close()
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
}

// reset closes in such a way that the other ends get an error and not an end.
func (l *link) reset() {
	l.mu.Lock()
	_ = l.client.SetLinger(0)
	if l.server != nil {
		_ = l.server.SetLinger(0)
	}
	l.mu.Unlock()
	l.close()
}

// wait reports whether the chunk is to go on; not if the proxy has ended.
func (a Action) wait(ctx context.Context) bool {
	timer := time.NewTimer(a.After)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	if a.Until == nil {
		return true
	}
	select {
	case <-a.Until:
		return true
	case <-ctx.Done():
		return false
	}
}
