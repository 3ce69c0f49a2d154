package storetest

import (
	"fmt"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
)

// When things happen. Nobody knows to the instant when a store takes a call, so what is judged is what follows from when the
// call began and when it had returned. A machine that stalls for a moment then proves less, and nothing wrong.

// Durations. A short lease or retention is over after outlive; a long one is not over before the rule ends.

func (t *trial) short() time.Duration { return t.opts.Unit }
func (t *trial) long() time.Duration  { return 1000 * t.opts.Unit }
func (t *trial) outlive()             { time.Sleep(t.opts.Unit + t.opts.Unit/2) }

// slack is how far two readings of one clock may lie apart.
func (t *trial) slack() time.Duration {
	if t.opts.RealTime {
		return t.opts.Unit / 4
	}
	return t.opts.Unit / 1000 // stores may let some fake time pass too
}

// settle returns when goroutines that were just started have come as far as they can without time passing. In real time
// nobody knows, so rules that need more than luck look again instead.
func (t *trial) settle() {
	if !t.opts.RealTime {
		synctest.Wait()
	}
}

// span is when something happened: not before from, and not after to.
type span struct{ from, to time.Time }

// during is when a call happened.
func during(call func()) span {
	from := time.Now()
	call()
	return span{from, time.Now()}
}

// after is how much time has passed since an event, at least and at most.
func (s span) after(event span) (least, most time.Duration) {
	return max(0, s.from.Sub(event.to)), s.to.Sub(event.from)
}

// reading is what a call returned of a record, and when.
type reading struct {
	driver.Grant // by Get it has no verdict
	at           span
}

// left checks what was read of a duration that began with an event.
func (t *trial) left(got, whole time.Duration, r reading, since span, what string, args ...any) {
	t.Helper()
	least, most := r.at.after(since)
	t.within(got, whole-most, whole-least, what, args...)
}

// within checks that a duration lies between two others, or so near that it cannot be told.
func (t *trial) within(got, low, high time.Duration, what string, args ...any) {
	t.Helper()
	if got < low-t.slack() || got > high+t.slack() {
		t.fatalf("%s is %v, want %v to %v", fmt.Sprintf(what, args...), got, low, high)
	}
}

// clocks checks all durations of a running record: those that begin anew with each sign of life, and the attempt's age.
func (t *trial) clocks(r reading, c driver.Claim, sign, begun span, when string) {
	t.Helper()
	t.left(r.Record.Lease, c.Lease, r, sign, "Lease %s", when)
	t.left(r.Record.Left, c.DoubtRetain, r, sign, "Left %s", when)
	least, most := r.at.after(begun)
	t.within(r.Record.Age, least, most, "Age %s", when)
}

// punctual repeats a scene that reports whether it was late: something in it took so long that nothing can be told.
func (t *trial) punctual(scene func() (late bool)) {
	t.Helper()
	const times = 20
	for range times {
		if !scene() {
			return
		}
	}
	t.fatalf("%d times a call came back too late: the store waits, or takes too long for Options.Unit = %v", times, t.opts.Unit)
}

// justBefore reads what Acquire says just before something is over, if it does so in time.
func (t *trial) justBefore(end time.Time, id driver.ID, c driver.Claim) (r reading, late bool) {
	t.Helper()
	time.Sleep(time.Until(end.Add(-t.slack())))
	r = t.acquire(id, c)
	return r, !r.at.to.Before(end)
}

// justAfter waits until something is over for everybody.
func (t *trial) justAfter(end time.Time) { time.Sleep(time.Until(end.Add(t.slack()))) }
