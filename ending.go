package onceward

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/failpoint"
)

var errEnded = errors.New("onceward: this attempt has ended already, or is a replay: end an attempt once")

// Complete ends the attempt: the answer is stored, and replayed from now on. Call it before the caller is answered.
//
// nil means stored. [ErrLeaseLost], whatever the error is besides, means that the answer must not be given, because another
// attempt or an operator decided, or may have, or because the attempt's transaction was not committed: give Outcome's if
// there is one, and else what the [RefusedError] says. Any other [ErrUnavailable] means not yet: give the caller its
// answer, the guard keeps trying. Ending an attempt twice is an error that is none of these.
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
	out.Note = a.note("")
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
		kept := out
		kept.Bytes = bytes.Clone(out.Bytes) // the guard may need them for longer than the caller lends them
		err = a.insist(func(ctx context.Context) error { return a.store(ctx, &kept) }, done)
	}
	return a.verdict(err)
}

// verdict is what the caller of an ending is told. Under Rerun an owner whose lease is over must take it that somebody
// else has the key, and may be answering already: its own answer could be a second one.
func (a *Attempt) verdict(err error) error {
	switch {
	case errors.Is(err, driver.ErrTransaction):
		return unavailable(fmt.Errorf("%w: %w", ErrLeaseLost, err))
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
	failpoint.At(failpoint.BeforeComplete)
	err := call.end(a.guard.store.Complete(call, a.id, a.owner, *out))
	failpoint.At(failpoint.AfterComplete)
	return err
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
	note := a.note(reason)
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
	note := a.note(reason)
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
	case errors.Is(err, driver.ErrTransaction): // nobody took the key away
		done = Trace{Step: "released", Err: err}
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

// pending reports whether the guard goes on storing the end of an attempt, so that its caller may be answered.
func pending(err error) bool { return errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrLeaseLost) }

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
