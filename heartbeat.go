package onceward

import (
	"context"
	"errors"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/failpoint"
)

var errOverrun = errors.New("onceward: the attempt ran longer than its policy's MaxExecution")

// keepAlive starts the signs of life: one timer, no goroutine while it waits.
func (a *Attempt) keepAlive() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = time.AfterFunc(a.until(a.pause()), a.beat)
}

// stop ends the signs of life.
func (a *Attempt) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
		a.timer = nil
	}
}

// pause is how long to wait for the next sign of life: a third of the lease.
func (a *Attempt) pause() time.Duration { return jitter(a.policy.Lease / 3) }

// until cuts a pause short where the attempt runs out of time, or out of its lease. An attempt whose end is known and on
// its way to the store has all the time it needs. a.mu is held.
func (a *Attempt) until(pause time.Duration) time.Duration {
	if !a.pending {
		pause = min(pause, a.policy.MaxExecution-time.Since(a.began))
	}
	if a.policy.OnCrash == Rerun {
		pause = min(pause, a.fenceAfter()-elapsed(a.sent, time.Now()))
	}
	return max(pause, 0)
}

// fenceAfter is how long after a sign of life was sent its lease counts as lost. The tenth is a margin for clocks that do
// not run alike and for the time a cancellation takes to be noticed.
func (a *Attempt) fenceAfter() time.Duration { return a.policy.Lease - a.policy.Lease/10 }

// leaseOver reports whether somebody may have taken over: under Rerun, when no sign of life was acknowledged in time.
func (a *Attempt) leaseOver() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.policy.OnCrash == Rerun && elapsed(a.sent, time.Now()) >= a.fenceAfter()
}

// elapsed is the time since t by the clock that says more: the monotonic one stands still while the machine is suspended,
// the wall clock may have been set back.
func elapsed(t, now time.Time) time.Duration {
	return max(now.Sub(t), now.Round(0).Sub(t.Round(0)))
}

// beat shows a sign of life and sets the timer for the next one.
func (a *Attempt) beat() {
	a.mu.Lock()
	if a.timer == nil {
		a.mu.Unlock()
		return
	}
	a.beats.Add(1)
	sent, last, bound := time.Now(), a.sent, a.until(a.guard.opts.StoreTimeout)
	overrun := !a.pending && time.Since(a.began) >= a.policy.MaxExecution
	a.mu.Unlock()
	defer a.beats.Done()
	switch {
	case overrun:
		a.overrun()
		return
	case a.leaseOver():
		a.lose(errors.New("the store did not acknowledge a sign of life in time"))
		return
	}
	pause := a.pause()
	switch err := a.extend(sent.Add(bound)); {
	case err == nil:
		last = sent
		a.guard.answered(&a.values)
		a.trace(&a.values, Trace{Step: "extended"})
	case decided(err):
		a.guard.answered(&a.values)
		a.lose(err)
		return
	default:
		pause /= 3 // the store did not answer: ask sooner, there is still time
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent = last
	if a.timer != nil {
		a.timer.Reset(a.until(pause))
	}
}

// extend asks for a new lease until the deadline: under Rerun an answer that comes when the old lease counts as lost is of
// no use.
func (a *Attempt) extend(deadline time.Time) error {
	ctx, cancel := context.WithDeadline(&a.values, deadline)
	defer cancel()
	call := a.guard.call(ctx, "extend")
	extension := driver.Extension{Lease: a.policy.Lease, Note: a.note("")}
	failpoint.At(failpoint.BeforeExtend)
	return call.end(a.guard.store.Extend(call, a.id, a.owner, extension))
}

// lose tells the handler that the key is not its own any more. An attempt that is just ending is not told: what is lost
// may be lost to its own end, and the ending finds out anyway.
func (a *Attempt) lose(err error) {
	a.stop()
	a.mu.Lock()
	ended := a.ended
	a.mu.Unlock()
	if ended {
		return
	}
	a.trace(a.ctx, Trace{Step: "lease-lost", Took: time.Since(a.began), Err: err})
	a.cancel(ErrLeaseLost)
}

// overrun stops an attempt that ran too long. Under Hold the lease is given up, so that callers learn at once that
// nobody can say how it ends; under Rerun it runs out, which leaves the handler that time to notice.
func (a *Attempt) overrun() {
	a.stop()
	a.trace(a.ctx, Trace{Step: "overrun", Took: time.Since(a.began)})
	a.cancel(errOverrun)
	if a.policy.OnCrash == Rerun {
		return
	}
	const reason = "MaxExecution over"
	err := a.giveUp(&a.values, reason)
	a.trace(&a.values, Trace{Step: "given-up", Reason: reason, Err: err})
}
