package intx

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
)

// Transactions is the store of guards whose attempts run in transactions. Each caller brings a session in its context,
// and the verbs find it there. So all callers share one guard, and with it its breaker and its polls for those who wait.
// It is safe for concurrent use.
type Transactions[T any] struct {
	engine Engine[T]

	mu     sync.Mutex
	guards map[*onceward.Guard]*onceward.Guard
}

// New makes the transactions of an engine. A store needs one of them, for its lifetime.
func New[T any](e Engine[T]) *Transactions[T] {
	return &Transactions[T]{engine: e, guards: make(map[*onceward.Guard]*onceward.Guard)}
}

// With returns g on this store, always the same one for the same g.
func (t *Transactions[T]) With(g *onceward.Guard) *onceward.Guard {
	if g == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	with, ok := t.guards[g]
	if !ok {
		with = g.With(t)
		t.guards[g] = with
	}
	return with
}

// Open returns a context in which one attempt may be begun with the guard of With, and run in a transaction. Leave rolls
// back what was not committed: call it in the goroutine that runs the attempt, after that has ended. It may be called
// more than once.
func (t *Transactions[T]) Open(ctx context.Context) (inside context.Context, leave func()) {
	s := &session[T]{engine: t.engine}
	return context.WithValue(ctx, sessionKey[T]{}, s), s.close
}

// Run calls use, which works in the transaction of the attempt whose context ctx is, and says whether the effect is to be
// committed with the outcome. If not, the effect is rolled back, and an outcome stored by itself. An error means that
// there is nothing to commit, whatever use said: the attempt must be released.
func (t *Transactions[T]) Run(ctx context.Context, use func() (keep bool)) error {
	s := sessionOf[T](ctx)
	if s == nil {
		return errNoTransaction
	}
	return s.run(func(T) bool { return use() })
}

// Tx finds the transaction of the attempt whose context ctx is, or comes from, as long as its function runs.
func Tx[T any](ctx context.Context) (tx T, ok bool) {
	if s := sessionOf[T](ctx); s != nil {
		return s.tx()
	}
	return tx, false
}

type sessionKey[T any] struct{}

// sessionOf is nil where there is none: in what the guard does in the background.
func sessionOf[T any](ctx context.Context) *session[T] {
	s, _ := ctx.Value(sessionKey[T]{}).(*session[T])
	return s
}

// Acquire opens the session's transaction.
func (t *Transactions[T]) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	s := sessionOf[T](ctx)
	if s == nil {
		return driver.Grant{}, fmt.Errorf("%w: %w", driver.ErrUnavailable, errNoTransaction)
	}
	return s.acquire(ctx, id, c)
}

// Extend sends nothing: a transaction that lives is the sign of life. Lease 0 rolls it back.
func (t *Transactions[T]) Extend(ctx context.Context, _ driver.ID, _ driver.Owner, e driver.Extension) error {
	s := sessionOf[T](ctx)
	switch {
	case s == nil:
		return driver.ErrLost
	case e.Lease > 0:
		return s.alive()
	default:
		return s.release()
	}
}

// Complete commits. Its error is never unknown: what happened is found out first, or said to be not known for good.
func (t *Transactions[T]) Complete(ctx context.Context, _ driver.ID, _ driver.Owner, out driver.Outcome) error {
	if s := sessionOf[T](ctx); s != nil {
		return s.complete(ctx, out)
	}
	return driver.ErrLost
}

// Release rolls back. Without a session it is about a Begin whose caller has gone, and with it the transaction.
func (t *Transactions[T]) Release(ctx context.Context, _ driver.ID, _ driver.Owner, _ driver.Note) error {
	if s := sessionOf[T](ctx); s != nil {
		return s.release()
	}
	return nil
}

// Resolve is the ordinary store's.
func (t *Transactions[T]) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	return t.engine.Resolve(ctx, id, r)
}

// Get says that a key runs also when that is only known by its being taken. It holds a connection no longer than for
// this one look.
func (t *Transactions[T]) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	w, err := t.engine.Begin(ctx, id)
	if err != nil {
		return driver.Record{}, err
	}
	defer w.Rollback()
	if seen := committed(w, id); w.Taken() && seen.Phase != driver.PhaseDone {
		return driver.Record{ID: id, Phase: driver.PhaseRunning, Lease: takenLease}, nil
	}
	return committed(w, id), nil
}

// Unwrap lends the guard what else the ordinary store can do, such as to tell when a record may have changed.
func (t *Transactions[T]) Unwrap() driver.Store { return t.engine }

// takenLease is the lease of a key that is taken. Only its being positive matters: nobody knows how long it will be.
const takenLease = time.Second
