package partitions

import (
	"fmt"
	"time"

	"github.com/onceward/onceward/internal/testsvc"
)

// kind is what becomes of what an owner and its store send to each other.
type kind int

const (
	blackHole kind = iota // nothing passes, and nobody is told
	deaf                  // the store hears the owner, whom no reply reaches
	mute                  // the owner would hear the store, which no request reaches
	reset                 // a connection that is used is reset
	refuse                // connections are at an end, and new ones are refused
	forget                // connections that are used are never heard of again, also when new ones are
)

func (k kind) String() string {
	return [...]string{"black hole", "deaf", "mute", "reset", "refuse", "forget"}[k]
}

// cut is one.
type cut struct {
	Kind    kind
	After   time.Duration // the handler has run for it
	Lasts   time.Duration
	Packets bool // are lost by the kernel, if it can
	Midway  bool // the handler ends during the cut and not after it
	Resolve bool // an operator decides as soon as there is a doubt
}

func (c *cut) String() string {
	return fmt.Sprintf("%v for %v (packets %t, midway %t, resolve %t)", c.Kind, c.Lasts, c.Packets, c.Midway, c.Resolve)
}

// network is between an owner and its store.
type network struct {
	proxy *testsvc.Proxy
	space *namespace // nil where there is none
}

// byPackets reports whether the kernel makes the cut. What happens to single connections the proxy does.
func (n *network) byPackets(c *cut) bool {
	return n.space != nil && c.Packets && c.Kind != reset && c.Kind != forget
}

// cut returns what heals it. What was on its way arrives then, as TCP has it.
func (n *network) cut(c *cut) (heal func() error, err error) {
	if n.byPackets(c) {
		return n.space.cut(c.Kind)
	}
	if c.Kind == refuse {
		n.proxy.Refuse()
		n.proxy.Cut()
		return func() error { n.proxy.Accept(); return nil }, nil
	}
	healed := make(chan struct{})
	recent := map[int]bool{} // connections that were made during the cut
	n.proxy.Fault(func(chunk testsvc.Chunk) testsvc.Action {
		if chunk.Number == 1 {
			recent[chunk.Conn] = true
		}
		switch {
		case c.Kind == reset:
			return testsvc.Action{Kind: testsvc.Reset}
		case c.Kind == forget && !recent[chunk.Conn]:
			return testsvc.Action{Kind: testsvc.Hole}
		case c.Kind == deaf && chunk.Request, c.Kind == mute && !chunk.Request:
			return testsvc.Action{}
		default:
			return testsvc.Action{Kind: testsvc.Delay, Until: healed}
		}
	})
	return func() error { n.proxy.Fault(nil); close(healed); return nil }, nil
}

// settles is how long it may take afterwards until everybody knows what became of a key: the lease that others wait for, or the
// longest pause of a guard that tries again, which is no longer than it has tried for; and a lease for the rest. TCP asks for a
// connection again after up to 2 s when packets are lost. Drivers wait up to 15 s for a word from a connection that was
// forgotten, and guards pause for up to 5 s then.
func (c *cut) settles(lease time.Duration) time.Duration {
	after := max(lease, c.Lasts) + lease
	switch {
	case c.Kind == forget:
		after += 20 * time.Second
	case c.Packets:
		after += 2 * time.Second
	}
	return after
}
