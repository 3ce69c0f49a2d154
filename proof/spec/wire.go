package spec

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// Faults are how many in a hundred calls over a [Wire] meet which fate.
type Faults struct {
	Refused    int // unavailable: it does not arrive, and the client is told so
	Vanished   int // it does not arrive, and nobody knows
	Unanswered int // it arrives, and the answer does not
	Late       int // it arrives after the client was told that nobody knows
}

// Wire is a store behind a bad network. Each call takes a while on its way, and the answer on its way back. It is safe for
// concurrent use.
type Wire struct {
	driver.Store

	faults Faults
	slow   time.Duration // the longest way

	mu     sync.Mutex
	random *rand.Rand
	going  sync.WaitGroup // calls and what is late
}

// NewWire puts a network before a store.
func NewWire(store driver.Store, f Faults, slow time.Duration, seed uint64) *Wire {
	return &Wire{Store: store, faults: f, slow: slow, random: rand.New(rand.NewPCG(seed, 0))} //nolint:gosec // it is to be repeatable
}

// Unwrap is for what the network does not carry.
func (w *Wire) Unwrap() driver.Store { return w.Store }

// Wait returns when nothing is on its way any more.
func (w *Wire) Wait() { w.going.Wait() }

var errNoAnswer = errors.New("no answer")

func (w *Wire) chance() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.IntN(100)
}

func (w *Wire) travel() {
	w.mu.Lock()
	d := w.random.Int64N(int64(w.slow) + 1)
	w.mu.Unlock()
	time.Sleep(time.Duration(d))
}

// carry lets a call meet its fate.
func carry[T any](w *Wire, call func() (T, error)) (T, error) {
	var none T
	w.going.Add(1)
	defer w.going.Done()
	w.travel()
	switch n, f := w.chance(), w.faults; {
	case n < f.Refused:
		return none, fmt.Errorf("%w: refused on the way", driver.ErrUnavailable)
	case n < f.Refused+f.Vanished:
		return none, errNoAnswer
	case n < f.Refused+f.Vanished+f.Unanswered:
		_, _ = call()
		return none, errNoAnswer
	case n < f.Refused+f.Vanished+f.Unanswered+f.Late:
		w.going.Go(func() {
			for range 8 {
				w.travel()
			}
			_, _ = call()
		})
		return none, errNoAnswer
	}
	got, err := call()
	w.travel()
	return got, err
}

func (w *Wire) do(call func() error) error {
	_, err := carry(w, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

// Acquire implements driver.Store.
func (w *Wire) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	return carry(w, func() (driver.Grant, error) { return w.Store.Acquire(ctx, id, c) })
}

// Extend implements driver.Store.
func (w *Wire) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	return w.do(func() error { return w.Store.Extend(ctx, id, o, e) })
}

// Complete implements driver.Store.
func (w *Wire) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return w.do(func() error { return w.Store.Complete(ctx, id, o, out) })
}

// Release implements driver.Store.
func (w *Wire) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return w.do(func() error { return w.Store.Release(ctx, id, o, n) })
}

// Resolve implements driver.Store.
func (w *Wire) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	return w.do(func() error { return w.Store.Resolve(ctx, id, r) })
}

// Get implements driver.Store.
func (w *Wire) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	return carry(w, func() (driver.Record, error) { return w.Store.Get(ctx, id) })
}
