package storetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// ErrBroken is how a [Faulty] store reports a call whose outcome its caller cannot know.
var ErrBroken = errors.New("storetest: the connection broke: outcome unknown")

// Verb is a method of a store.
type Verb uint8

// The verbs.
const (
	VerbAcquire Verb = iota
	VerbExtend
	VerbComplete
	VerbRelease
	VerbResolve
	VerbGet
	verbCount
)

func (v Verb) String() string {
	return [...]string{"Acquire", "Extend", "Complete", "Release", "Resolve", "Get"}[v]
}

// Fault is what happens to one call. The zero Fault is none.
type Fault struct {
	kind  kind
	after time.Duration
	gate  *Gate
}

type kind uint8

const (
	none kind = iota
	refuse
	applyThenFail
	failThenApply
	failThenApplyAfter
	delay
	holdCall
	holdReply
)

var (
	// Refuse answers driver.ErrUnavailable and writes nothing.
	Refuse = Fault{kind: refuse}
	// ApplyThenFail makes the call and answers ErrBroken.
	ApplyThenFail = Fault{kind: applyThenFail}
	// FailThenApply answers ErrBroken and makes the call when [Faulty.Apply] is called.
	FailThenApply = Fault{kind: failThenApply}
)

// FailThenApplyAfter answers ErrBroken and makes the call d later, in the background.
func FailThenApplyAfter(d time.Duration) Fault { return Fault{kind: failThenApplyAfter, after: d} }

// Delay makes the call after d. If the context ends before, it answers with the context's error and makes no call.
func Delay(d time.Duration) Fault { return Fault{kind: delay, after: d} }

// Faulty is a store that does what a test wants to some of its calls, and passes the others on. It is safe for
// concurrent use, also inside a testing/synctest bubble if it is made there.
type Faulty struct {
	store  driver.Store
	closed chan struct{}
	late   sync.WaitGroup

	mu      sync.Mutex
	next    [verbCount][]Fault
	always  [verbCount]Fault
	calls   [verbCount]int
	chance  func() Fault
	gates   []*Gate
	pending []*lateCall
}

// lateCall is one that was reported as failed and has not been made yet.
type lateCall struct {
	call func()
	once sync.Once
}

// NewFaulty wraps s. Close has to be called at the end.
func NewFaulty(s driver.Store) *Faulty {
	return &Faulty{store: s, closed: make(chan struct{})}
}

// Unwrap returns the store that is wrapped. Optional interfaces found through it bypass all faults.
func (f *Faulty) Unwrap() driver.Store { return f.store }

// Next appends faults for the next calls of the verb, one each. They come before [Faulty.Always] and [Faulty.Randomly].
func (f *Faulty) Next(v Verb, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next[v] = append(f.next[v], faults...)
}

// Always sets the fault of every call of the verb; the zero Fault ends it.
func (f *Faulty) Always(v Verb, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always[v] = fault
}

// Randomly gives any call one of the faults with the probability, from a seed. No faults end it.
func (f *Faulty) Randomly(seed uint64, probability float64, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chance = nil
	if len(faults) == 0 {
		return
	}
	r := rand.New(rand.NewPCG(seed, 0))
	f.chance = func() Fault {
		if r.Float64() < probability {
			return faults[r.IntN(len(faults))]
		}
		return Fault{}
	}
}

// Hold stops the next call of the verb before it reaches the store, until the gate is opened.
func (f *Faulty) Hold(v Verb) *Gate { return f.hold(v, holdCall) }

// HoldReply stops the next call of the verb when the store has answered, until the gate is opened.
func (f *Faulty) HoldReply(v Verb) *Gate { return f.hold(v, holdReply) }

func (f *Faulty) hold(v Verb, k kind) *Gate {
	g := &Gate{arrived: make(chan struct{}), open: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gates = append(f.gates, g)
	f.next[v] = append(f.next[v], Fault{kind: k, gate: g})
	return g
}

// Calls returns how many calls of the verb have been made to f, whatever became of them.
func (f *Faulty) Calls(v Verb) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[v]
}

// Apply makes the calls that were reported as failed and are still to come, in their order, and returns how many.
func (f *Faulty) Apply() int {
	f.mu.Lock()
	pending := f.pending
	f.pending = nil
	f.mu.Unlock()
	made := 0
	for _, c := range pending {
		c.once.Do(func() { c.call(); made++ })
	}
	return made
}

// Close opens all gates, ends all delays, forgets the calls that were reported as failed and are still to come, and waits
// for those that are being made, so that no goroutine is left. It does not close the wrapped store.
func (f *Faulty) Close() {
	f.mu.Lock()
	f.pending = nil
	gates := f.gates
	select {
	case <-f.closed:
	default:
		close(f.closed)
	}
	f.mu.Unlock()
	for _, g := range gates {
		g.Open()
	}
	f.late.Wait()
}

// Gate is where a call is held. Its methods may be called by any goroutine.
type Gate struct {
	arrived, open chan struct{}
	opened        sync.Once
}

// Arrived is closed when the call has come to the gate.
func (g *Gate) Arrived() <-chan struct{} { return g.arrived }

// Open lets the call go on.
func (g *Gate) Open() { g.opened.Do(func() { close(g.open) }) }

// pass waits at the gate.
func (g *Gate) pass(ctx context.Context) error {
	close(g.arrived)
	select {
	case <-g.open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
