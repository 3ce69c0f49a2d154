// Package greedy makes one of the calls that come while another one is under way. There is no timer: whoever comes first goes
// at once and alone, and those who come meanwhile go together when it is back.
package greedy

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

const (
	most = 256 // calls that go together
	// slow is how long those who wait trust the call that is under way. After it one of them goes besides, because a connection
	// may be dead without a sign.
	slow = 100 * time.Millisecond
)

// Queue is where calls of one kind meet. Its functions are set before the first call. It is safe for concurrent use.
type Queue[T any] struct {
	// Together makes the calls, of which no two have the same id, in the order of their ids, and leaves in each what came of it.
	// Its error is everybody's.
	Together func(ctx context.Context, calls []T) error
	// Alone reports whether after that error each call may be made by itself, because nothing was done and one of them may
	// have spoilt it for the others.
	Alone func(err error) bool

	mu      sync.Mutex
	waiting []*call[T]
	flights int
	since   time.Time // when the last flight began
	flying  sync.WaitGroup
}

type call[T any] struct {
	id     driver.ID
	what   T
	flight *flight[T]   // nil while it waits
	done   chan outcome // what came of it
}

type outcome struct {
	alone  bool // it is to be made by itself
	leader bool // and when it is back the next ones go
	err    error
}

type flight[T any] struct {
	calls  []*call[T]
	left   int // how many of their callers wait no more
	cancel context.CancelFunc
}

// Do makes a call about id: together with others, or alone by the function. Together has left its result in what, unless there
// is an error, or alone is true. When ctx ends Do returns, and what may still be in use.
func (q *Queue[T]) Do(ctx context.Context, id driver.ID, what T, byItself func() error) (alone bool, err error) {
	c := q.enter(id, what)
	if c == nil {
		defer q.land()
		return true, byItself()
	}
	select {
	case o := <-c.done:
		if o.leader {
			defer q.land()
		}
		if o.alone {
			return true, byItself()
		}
		return false, o.err
	case <-ctx.Done():
		return false, q.leave(ctx, c)
	}
}

// enter is nil for who may go at once.
func (q *Queue[T]) enter(id driver.ID, what T) *call[T] {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flights == 0 || time.Since(q.since) > slow {
		q.flights++
		q.since = time.Now()
		return nil
	}
	c := &call[T]{id: id, what: what, done: make(chan outcome, 1)}
	q.waiting = append(q.waiting, c)
	return c
}

// leave is for who does not wait any more. The flight goes on for the others.
func (q *Queue[T]) leave(ctx context.Context, c *call[T]) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if f := c.flight; f != nil {
		if f.left++; f.left == len(f.calls) {
			f.cancel()
		}
		return fmt.Errorf("pgstore: outcome unknown: %w", ctx.Err())
	}
	if at := slices.Index(q.waiting, c); at >= 0 {
		q.waiting = slices.Delete(q.waiting, at, at+1)
	} else if o := <-c.done; o.leader { // it has just been told to go by itself
		q.flights--
		q.start()
	}
	return fmt.Errorf("pgstore: nothing done: %w", ctx.Err())
}

// land is the end of a flight, and the beginning of the next one.
func (q *Queue[T]) land() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.flights--
	q.start()
}

// start lets those go who wait. It is called while mu is held.
func (q *Queue[T]) start() {
	f := q.board()
	switch len(f.calls) {
	case 0:
		return
	case 1:
		f.calls[0].done <- outcome{alone: true, leader: true}
	default:
		var ctx context.Context
		ctx, f.cancel = context.WithCancel(context.Background())
		for _, c := range f.calls {
			c.flight = f
		}
		q.flying.Go(func() { q.fly(ctx, f) })
	}
	q.flights++
	q.since = time.Now()
}

// board takes who waits, of each id one, in the order of ids, so that flights of several processes cannot wait for each other.
func (q *Queue[T]) board() *flight[T] {
	f := new(flight[T])
	ids := make(map[driver.ID]bool)
	q.waiting = slices.DeleteFunc(q.waiting, func(c *call[T]) bool {
		goes := len(f.calls) < most && !ids[c.id]
		if goes {
			ids[c.id] = true
			f.calls = append(f.calls, c)
		}
		return goes
	})
	slices.SortFunc(f.calls, func(a, b *call[T]) int { return bytes.Compare(a.id[:], b.id[:]) })
	return f
}

func (q *Queue[T]) fly(ctx context.Context, f *flight[T]) {
	defer q.land()
	defer f.cancel()
	all := make([]T, len(f.calls))
	for i, c := range f.calls {
		all[i] = c.what
	}
	err := q.Together(ctx, all)
	o := outcome{err: err, alone: err != nil && q.Alone(err)}
	for _, c := range f.calls {
		c.done <- o
	}
}

// Waiting is how many calls wait for the one that is under way.
func (q *Queue[T]) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// Close returns when nothing is under way any more that goes together.
func (q *Queue[T]) Close() { q.flying.Wait() }
