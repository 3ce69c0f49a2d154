package onceward

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

var errEnded = errors.New("onceward: this attempt has ended already, or is a replay: end an attempt once")

// Attempt is one execution of an operation, or the replay of one. It shows signs of life by itself until it ends. End it
// with exactly one of Complete, Tombstone, Release and Doubt. One that is forgotten keeps its key until the policy's
// MaxExecution, and is then told of like one whose process died. Its methods are safe for concurrent use.
type Attempt struct {
	guard  *Guard
	id     driver.ID
	owner  driver.Owner
	labels driver.Labels
	policy Policy
	fence  uint64
	number int
	began  time.Time

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
	a.enter(ctx, sent)
	a.keepAlive()
	step := "acquired"
	if a.number > 1 {
		step = "taken-over"
	}
	a.trace(ctx, Trace{Step: step})
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

// Complete ends the attempt: the answer is stored, and replayed from now on. Call it before the caller is answered.
//
// nil means stored. [ErrUnavailable] means not yet: give the caller its answer, the guard keeps trying. [ErrLeaseLost]
// means that the answer must not be given, because another attempt or an operator decided: give Outcome's if there is
// one. [ErrInDoubt] without it means that the lease was over and the store does not say who decided. Every other
// [RefusedError] says what to tell the caller instead. Ending an attempt twice is an error that is none of these.
func (a *Attempt) Complete(answer []byte) error {
	return a.complete(driver.Outcome{Kind: driver.Answer, Bytes: answer})
}

// Tombstone ends the attempt whose answer cannot be kept. Retries are refused with ErrNotStored and the summary. The
// error is Complete's.
func (a *Attempt) Tombstone(summary []byte) error {
	return a.complete(driver.Outcome{Kind: driver.Tombstone, Bytes: summary})
}

func (a *Attempt) complete(out driver.Outcome) error {
	out.Retain = a.policy.Retention
	out.Note.Node = a.guard.opts.Node
	if !a.end() {
		return errEnded
	}
	if a.unprotected {
		a.stop()
		return unavailable(errors.New("the attempt ran unprotected"))
	}
	done := Trace{Step: "completed", Kind: out.Kind, Size: len(out.Bytes)}
	err := a.store(&a.values, &out)
	if decided(err) {
		a.finish(err, done)
	} else {
		kept := out // only an answer that has to be sent again is moved to the heap
		err = a.insist(func(ctx context.Context) error { return a.store(ctx, &kept) }, done)
	}
	return a.verdict(err)
}

// verdict is what the caller of an ending is told. Under Rerun an owner whose lease is over must take it that somebody
// else has the key, and may be answering already: its own answer could be a second one.
func (a *Attempt) verdict(err error) error {
	switch {
	case errors.Is(err, driver.ErrLost):
		return a.overtaken()
	case err != nil && a.leaseOver():
		return &RefusedError{Reason: ErrInDoubt, Cause: ErrLeaseLost}
	default:
		return err
	}
}

func (a *Attempt) store(ctx context.Context, out *driver.Outcome) error {
	call := a.guard.call(ctx, "complete")
	return call.end(a.guard.store.Complete(call, a.id, a.owner, *out))
}

// Release ends the attempt as if it had not been: the next caller runs. Under [Hold] it is the caller's word that there was
// no effect. The errors are Complete's.
func (a *Attempt) Release(reason string) error {
	if !a.end() {
		return errEnded
	}
	if a.unprotected {
		a.stop()
		return nil
	}
	note := driver.Note{Reason: reason, Node: a.guard.opts.Node}
	err := a.insist(func(ctx context.Context) error {
		return a.guard.release(ctx, a.id, a.owner, note)
	}, Trace{Step: "released", Reason: reason})
	return a.verdict(err)
}

// Doubt ends the attempt without an outcome: the lease is given up, nobody can say how it ended. Under [Hold] the key is in
// doubt at once; under [Rerun] the next caller runs it again. The errors are Complete's.
func (a *Attempt) Doubt(reason string) error {
	if !a.end() {
		return errEnded
	}
	a.stop()
	if a.unprotected {
		return nil
	}
	a.beats.Wait() // one that arrives after the lease is given up would renew it
	err := a.insist(func(ctx context.Context) error { return a.giveUp(ctx, reason) }, Trace{Step: "given-up", Reason: reason})
	return a.verdict(err)
}

// giveUp ends the lease at once and keeps the key.
func (a *Attempt) giveUp(ctx context.Context, reason string) error {
	call := a.guard.call(ctx, "extend")
	note := driver.Note{Reason: reason, Node: a.guard.opts.Node}
	return call.end(a.guard.store.Extend(call, a.id, a.owner, driver.Extension{Note: note}))
}

// end reports whether the attempt had not ended before.
func (a *Attempt) end() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := !a.ended
	a.ended = true
	return first
}

// insist brings an ending to the store: for CompleteTimeout while the caller waits, then in the background. Meanwhile
// whatever signs of life there are go on, so that nobody takes an end that is late for a crash.
func (a *Attempt) insist(send func(context.Context) error, done Trace) error {
	ctx, cancel := context.WithTimeout(&a.values, a.guard.opts.CompleteTimeout)
	defer cancel()
	err := insist(ctx, send)
	if decided(err) {
		a.finish(err, done)
		return err
	}
	a.mu.Lock()
	a.pending = true
	a.mu.Unlock()
	a.trace(&a.values, Trace{Step: done.Step + "-pending", Err: err})
	a.guard.backlog.owe(func(ctx context.Context) { a.finish(insist(ctx, send), done) })
	return unavailable(err)
}

// finish ends the signs of life and says how the ending went.
func (a *Attempt) finish(err error, done Trace) {
	a.stop()
	switch {
	case err == nil:
		a.guard.answered(&a.values)
	case decided(err):
		a.guard.answered(&a.values)
		done = Trace{Step: "lease-lost", Err: err}
	default:
		done = Trace{Step: "abandoned", Err: err}
	}
	if a.guard.traced() {
		done.Took = time.Since(a.began)
		a.trace(&a.values, done)
	}
	a.guard.rooms.changed(a.id)
}

// overtaken finds out what is stored in place of this attempt's outcome.
func (a *Attempt) overtaken() error {
	record, err := a.guard.get(&a.values, a.id)
	if err != nil {
		return &RefusedError{Reason: ErrInDoubt, Cause: fmt.Errorf("%w, and the record cannot be read", ErrLeaseLost)}
	}
	refused := &RefusedError{Reason: ErrInDoubt, Cause: ErrLeaseLost, Record: record}
	switch {
	case record.Phase == driver.PhaseDone && record.Outcome.Kind == driver.Answer:
		a.replay(&record)
		refused.Reason = ErrLeaseLost
	case record.Phase == driver.PhaseDone:
		refused.Reason = ErrNotStored
	case record.State() == "running":
		refused.Reason, refused.RetryAfter = ErrInProgress, time.Second
	}
	return refused
}

func (a *Attempt) trace(ctx context.Context, t Trace) {
	if !a.guard.traced() {
		return
	}
	t.ID, t.Labels, t.Attempt, t.Fence = a.id, a.labels, a.number, a.fence
	a.guard.trace(ctx, t)
}
