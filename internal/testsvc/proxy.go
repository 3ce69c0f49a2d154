package testsvc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Kind is what happens to a chunk.
type Kind int

// The faults. Each is counted before a client can see it.
const (
	Pass      Kind = iota // none
	Delay                 // it goes on after the action's wait, and all that follows it in its direction
	Hole                  // from it on nothing goes on in either direction, not even the end of the connection
	Cut                   // the connection ends at both sides
	Reset                 // the connection is reset at both sides
	DropReply             // it reaches the server and the reply does not reach the client; counted at the reply
	Late                  // a request is held back for the action's wait, and then goes on to the server without its client
	Arrived               // a Late request has got its reply, which nobody sees; this is not an action
)

// String is for messages.
func (k Kind) String() string {
	return [...]string{"Pass", "Delay", "Hole", "Cut", "Reset", "DropReply", "Late", "Arrived"}[k]
}

// Action is what a test wants to happen to a chunk. The zero value lets it pass.
type Action struct {
	Kind Kind

	// After and Until say how long a Delay and a Late wait: for a time, and for the end of a channel if there is one.
	After time.Duration
	Until <-chan struct{}

	// Hang keeps the client's connection open and silent where DropReply and Late would close it.
	Hang bool
}

// Chunk is what one read from a connection gave: mostly a request or a reply, but whoever sends decides.
type Chunk struct {
	Conn    int    // counts the connections, from 1
	Number  int    // counts the chunks of a connection in a direction, from 1
	Request bool   // its direction: from the client to the server
	Bytes   []byte // valid until the function that got it returns
}

// Chance is a number in [0, 1) that depends on the seed and on the place of the chunk and on nothing else, so that a run can be
// repeated however its connections interleave.
func (c Chunk) Chance(seed uint64) float64 {
	place := uint64(c.Conn)<<32 | uint64(c.Number)<<1
	if c.Request {
		place++
	}
	return rand.New(rand.NewPCG(seed, place)).Float64() //nolint:gosec // it has to be repeatable
}

// Proxy is a TCP proxy that can be told to spoil connections. It is safe for concurrent use. It ends with the test.
//
// What the client of a server that is down sees differs: the proxy accepts, and then resets.
type Proxy struct {
	Addr string // where clients connect to

	t      testing.TB
	target string
	ctx    context.Context //nolint:containedctx // the end of the proxy
	work   sync.WaitGroup

	deciding sync.Mutex // held while the test's function runs

	mu       sync.Mutex
	listener net.Listener // nil: it refuses
	links    map[*link]bool
	accepted int
	fault    func(Chunk) Action
	counts   map[Kind]int
	counted  chan struct{} // closed at the next count
}

// NewProxy starts a proxy to target, a host:port, that lets everything pass.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		t: t, target: target, ctx: ctx, links: map[*link]bool{}, counts: map[Kind]int{}, counted: make(chan struct{}),
	}
	for p.listener == nil {
		p.Addr = fmt.Sprintf("127.0.0.1:%d", freePort())
		_ = p.listen() // or somebody was faster
	}
	t.Cleanup(func() {
		cancel()
		p.Refuse()
		p.closeLinks()
		p.work.Wait()
	})
	return p
}

// Fault sets what decides about each chunk from now on; nil lets all pass. f is called by one goroutine at a time, and may call
// the methods of the proxy but Wait. A connection that is in a Hole or has lost a reply stays so.
func (p *Proxy) Fault(f func(Chunk) Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

func (p *Proxy) decide(c Chunk) Action {
	p.deciding.Lock()
	defer p.deciding.Unlock()
	p.mu.Lock()
	fault := p.fault
	p.mu.Unlock()
	if fault == nil {
		return Action{}
	}
	return fault(c)
}

// Refuse lets new connections be refused. Those that are open stay.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

// Accept ends Refuse.
func (p *Proxy) Accept() {
	p.t.Helper()
	if err := p.listen(); err != nil {
		p.t.Fatalf("the proxy cannot accept again: %v", err)
	}
}

func (p *Proxy) listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return nil
	}
	listener, err := new(net.ListenConfig).Listen(p.ctx, "tcp", p.Addr)
	if err != nil {
		return err
	}
	p.listener = listener
	p.work.Go(func() { p.serve(listener) })
	return nil
}

func (p *Proxy) serve(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		p.accepted++
		l := &link{proxy: p, number: p.accepted, client: client.(*net.TCPConn)} //nolint:forcetypeassert // of a TCP listener
		p.links[l] = true
		p.mu.Unlock()
		p.work.Go(l.run)
	}
}

// Cut ends all connections now. A request that is Late still arrives.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if l.open() {
			p.add(Cut)
			l.cut()
		}
	}
}

func (p *Proxy) closeLinks() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

func (p *Proxy) forget(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// Count is how often the fault has happened.
func (p *Proxy) Count(k Kind) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[k]
}

func (p *Proxy) count(k Kind) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.add(k)
}

// add is for who holds p.mu.
func (p *Proxy) add(k Kind) {
	p.counts[k]++
	close(p.counted)
	p.counted = make(chan struct{})
}

// Wait returns when the fault has happened n times since the start of the proxy. It fails the test after a minute.
func (p *Proxy) Wait(k Kind, n int) {
	p.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		p.mu.Lock()
		seen, counted := p.counts[k], p.counted
		p.mu.Unlock()
		if seen >= n {
			return
		}
		select {
		case <-counted:
		case <-late.C:
			p.t.Fatalf("after %v the fault %v has happened %d times, not %d", patience, k, seen, n)
		}
	}
}
