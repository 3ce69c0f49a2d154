package onceward

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/failpoint"
)

// Attempt is one execution of an operation, or the replay of one. It shows signs of life by itself until it ends. End it
// with exactly one of Complete, Tombstone, Release and Doubt. One that is forgotten keeps its key until the policy's
// MaxExecution, and is then told of like one whose process died. Its methods are safe for concurrent use.
type Attempt struct {
	guard   *Guard
	id      driver.ID
	owner   driver.Owner
	labels  driver.Labels
	traceID string // its caller's
	policy  Policy
	fence   uint64
	number  int
	began   time.Time

	unprotected bool // there is nothing to end

	asked  call            // the first Acquire
	values values          // the caller's context, without its end
	ctx    context.Context //nolint:containedctx // the execution's own, which outlives the call that made it
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	beats    sync.WaitGroup // signs of life under way
	ended    bool
	pending  bool // the guard goes on bringing the end to the store
	timer    *time.Timer
	sent     time.Time // when the last acknowledged sign of life was sent
	replayed bool
	answer   []byte
	left     time.Duration // how long the answer is kept
}

// values is a context that never ends, and from which the attempt is found.
type values struct {
	context.Context //nolint:containedctx // it is wrapped, as the context package wraps its own

	attempt *Attempt
}

type attemptKey struct{}

func (*values) Deadline() (time.Time, bool) { return time.Time{}, false }
func (*values) Done() <-chan struct{}       { return nil }
func (*values) Err() error                  { return nil }

func (v *values) Value(key any) any {
	if key == (attemptKey{}) {
		return v.attempt
	}
	return v.Context.Value(key)
}

// FromContext returns the attempt whose context ctx is, or comes from.
func FromContext(ctx context.Context) (*Attempt, bool) {
	a, ok := ctx.Value(attemptKey{}).(*Attempt)
	return a, ok
}

// start turns a into a running attempt.
func (a *Attempt) start(ctx context.Context, r *driver.Record, sent time.Time) {
	a.fence, a.number, a.sent = r.Fence, r.Attempt, sent
	a.policy.OnCrash, a.policy.MaxExecution = r.OnCrash, r.MaxExecution // a take-over keeps those of the first Begin
	a.policy.Lease = max(a.policy.Lease, r.Lease)                       // a transaction holds its key for as long as it lives
	a.enter(ctx, sent)
	a.keepAlive()
	step := "acquired"
	if a.number > 1 {
		step = "taken-over"
	}
	a.trace(ctx, Trace{Step: step})
	failpoint.At(failpoint.AfterAcquire)
}

// enter gives a the context in which its handler runs.
func (a *Attempt) enter(caller context.Context, began time.Time) {
	a.began = began
	var parent context.Context = &a.values
	if a.policy.FollowCaller {
		parent = context.WithValue(caller, attemptKey{}, a)
	}
	a.ctx, a.cancel = context.WithCancelCause(parent)
}

// replay turns a into the replay of a done record.
func (a *Attempt) replay(r *driver.Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended, a.replayed, a.answer, a.left = true, true, r.Outcome.Bytes, r.Left
	if a.ctx == nil { // it never ran: an attempt that did keeps its own fence
		a.ctx = &a.values
		a.fence, a.number = r.Fence, r.Attempt
	}
}

// Context is the one to run in. It is cancelled with the cause [ErrLeaseLost] when the attempt no longer holds the key,
// with another cause when it ran longer than MaxExecution, and by Cancel. It carries the values of Begin's context.
func (a *Attempt) Context() context.Context { return a.ctx }

// Cancel cancels the context, and does not end the attempt. Call it when the handler has returned, for whatever it
// started and left behind.
func (a *Attempt) Cancel() {
	if a.cancel != nil {
		a.cancel(nil)
	}
}

// Ended reports whether one of the methods that end the attempt was called, or it is a replay.
func (a *Attempt) Ended() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}

// Outcome is the stored answer, and whether there is one: then the caller replays it and runs nothing. After a Complete
// that returned ErrLeaseLost it is what is stored instead.
func (a *Attempt) Outcome() (answer []byte, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.answer, a.replayed
}

// ID is the key's: what stores look up, and what logs name by its first digits.
func (a *Attempt) ID() driver.ID { return a.id }

// Fence grows with each attempt of the key. A sink that remembers the highest one it saw can refuse an attempt that was
// overtaken. It is 0 if the attempt runs unprotected.
func (a *Attempt) Fence() uint64 { return a.fence }

// Number counts the attempts of the key from 1. It is 0 if the attempt runs unprotected.
func (a *Attempt) Number() int { return a.number }

// OnCrash is what happens to the key if this process dies: as the policy said when the key was first acquired.
func (a *Attempt) OnCrash() driver.OnCrash { return a.policy.OnCrash }

// Retention is how long the answer is kept: what is left of it for a replay, all of it for an attempt that will complete.
func (a *Attempt) Retention() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.replayed {
		return a.left
	}
	return a.policy.Retention
}

// ChildKey makes a key for a call that this operation makes: the same one in each attempt, another one for each name.
func (a *Attempt) ChildKey(name string) string {
	sum := sha256.Sum256(append(a.id[:], name...))
	return "child-" + hex.EncodeToString(sum[:16])
}

// note says what the store keeps with a step of the attempt.
func (a *Attempt) note(reason string) driver.Note {
	return driver.Note{Reason: bounded(reason, mostLabel), TraceID: bounded(a.traceID, mostLabel), Node: a.guard.opts.Node}
}

func (a *Attempt) trace(ctx context.Context, t Trace) {
	if !a.guard.traced() {
		return
	}
	t.ID, t.Labels, t.Attempt, t.Fence = a.id, a.labels, a.number, a.fence
	a.guard.trace(ctx, t)
}
