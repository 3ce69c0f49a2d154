package storetest

import (
	"context"
	"time"

	"github.com/onceward/onceward/driver"
)

// Rules 2, 3 and 17: leases, lives and fences.

var bg = context.Background()

// instant is a moment from which durations are waited for.
type instant struct{ time.Time }

func now() instant { return instant{time.Now()} }

// until returns d after the instant.
func (i instant) until(d time.Duration) { time.Sleep(time.Until(i.Add(d))) }

func durationsByOneClock(t *trial) {
	lifeOfRunning(t)
	lifeOfDone(t, "the claim's retention", 2*t.short(), 0)
	lifeOfDone(t, "the outcome's own retention, shorter than the claim's,", t.long(), 2*t.short())
	lifeOfDone(t, "the outcome's own retention, longer than the claim's,", t.short(), 2*t.short())
	ageOfAttempt(t)
	lengthyDurations(t)
}

// lifeOfRunning follows a record whose owner shows one sign of life and then none.
func lifeOfRunning(t *trial) {
	unit := t.opts.Unit
	id, c := newID(), t.claim()
	c.Lease, c.DoubtRetain = 2*unit, 4*unit
	start := now()
	r := t.acquire(id, c).Record
	t.near(r.Lease, 2*unit, "Lease just after Acquire")
	t.near(r.Left, 4*unit, "Left just after Acquire")
	t.near(r.Age, 0, "Age just after Acquire")

	start.until(unit)
	r = t.get(id)
	t.near(r.Lease, unit, "Lease %v after Acquire", unit)
	t.near(r.Left, 3*unit, "Left %v after Acquire", unit)
	t.near(r.Age, unit, "Age %v after Acquire", unit)
	t.ok(t.extend(id, c.Owner, 2*unit), "Extend")
	r = t.get(id)
	t.near(r.Lease, 2*unit, "Lease just after Extend")
	t.near(r.Left, 4*unit, "Left just after Extend")
	t.near(r.Age, unit, "Age just after Extend")

	start.until(3*unit - t.slack())
	t.wants(driver.Running, id, by(c), "Acquire just before the lease is over")
	start.until(3*unit + t.slack())
	t.wants(driver.InDoubt, id, by(c), "Acquire just after the lease is over")
	if t.get(id).GivenUp {
		t.fatalf("a lease that ran out is reported as given up")
	}
	start.until(5*unit - t.slack())
	t.state(id, "in-doubt", "just before the doubt retention, counted from the last Extend, is over")
	start.until(5*unit + t.slack())
	t.state(id, "absent", "just after the doubt retention is over")
	t.wants(driver.Acquired, id, by(c), "Acquire just after the doubt retention is over")
}

// lifeOfDone checks that an outcome is kept for two units, whatever the lease and the doubt retention are.
func lifeOfDone(t *trial, what string, claimed, own time.Duration) {
	unit := t.opts.Unit
	id, c := newID(), t.claim()
	c.Lease, c.DoubtRetain, c.Retain = unit, unit, claimed
	t.acquire(id, c)
	start := now()
	out := answer("kept")
	out.Retain = own
	t.ok(t.complete(id, c.Owner, out), "Complete")
	r := t.get(id)
	t.near(r.Left, 2*unit, "with %s Left just after Complete", what)
	t.near(r.Age, 0, "with %s Age just after Complete", what)
	if r.Lease > 0 || r.Outcome.Retain != 0 {
		t.fatalf("a done record has Lease %v and Outcome.Retain %v, want neither", r.Lease, r.Outcome.Retain)
	}
	start.until(2*unit - t.slack())
	t.outcome(t.wants(driver.Done, id, by(c), "with %s Acquire just before it is over", what).Record, out, "the replay")
	start.until(2*unit + t.slack())
	t.state(id, "absent", "with %s just after it is over", what)
	t.wants(driver.Acquired, id, by(c), "with %s Acquire just after it is over", what)
}

func ageOfAttempt(t *trial) {
	id, c := newID(), t.claim()
	c.OnCrash, c.Lease = driver.Rerun, t.short()
	t.acquire(id, c)
	t.outlive()
	r := t.wants(driver.Acquired, id, by(c), "take-over of a rerun key whose lease is over").Record
	t.near(r.Age, 0, "Age just after a take-over")
	t.near(r.Lease, c.Lease, "Lease just after a take-over")
	t.near(r.Left, c.DoubtRetain, "Left just after a take-over")
}

// lengthyDurations checks that what nobody can wait for does not wrap: 2^31 milliseconds are 25 days, 2^32 are 50.
func lengthyDurations(t *trial) {
	const day = 24 * time.Hour
	for _, d := range []time.Duration{30 * day, 3650 * day} {
		id, c := newID(), t.claim()
		c.MaxExecution, c.Lease, c.DoubtRetain, c.Retain = d, d-2*day, d, d-3*day
		t.acquire(id, c)
		r := t.get(id)
		t.near(r.Lease, c.Lease, "Lease just after Acquire")
		t.near(r.Left, c.DoubtRetain, "Left just after Acquire")
		if r.MaxExecution != d {
			t.fatalf("a MaxExecution of %v came back as %v", d, r.MaxExecution)
		}
		t.ok(t.extend(id, c.Owner, d-day), "Extend")
		r = t.get(id)
		t.near(r.Lease, d-day, "Lease just after Extend")
		t.near(r.Left, c.DoubtRetain, "Left just after Extend")
		t.ok(t.complete(id, c.Owner, answer("kept")), "Complete")
		t.near(t.get(id).Left, c.Retain, "Left just after Complete, by the claim's retention,")

		id = newID()
		t.acquire(id, c)
		out := answer("kept")
		out.Retain = d
		t.ok(t.complete(id, c.Owner, out), "Complete")
		t.near(t.get(id).Left, d, "Left just after Complete, by the outcome's own retention,")
	}
}

func fencesGrow(t *trial) {
	id, c := newID(), t.claim()
	c.OnCrash, c.MaxAttempts, c.Lease = driver.Rerun, 100, t.short()
	last := t.acquire(id, c).Record.Fence
	grows := func(what string) {
		t.Helper()
		c = by(c)
		fence := t.wants(driver.Acquired, id, c, "Acquire after %s", what).Record.Fence
		if fence <= last {
			t.fatalf("the fence after %s is %d, but %d was granted before", what, fence, last)
		}
		if got := t.get(id).Fence; got != fence {
			t.fatalf("fence %d was granted, but the record has %d", fence, got)
		}
		last = fence
	}
	force := driver.Resolution{Force: true}

	t.ok(t.release(id, c.Owner), "Release")
	grows("Release")
	t.outlive()
	grows("the end of a lease")
	t.ok(t.release(id, c.Owner), "Release")
	t.ok(t.release(id, newOwner()), "Release of an absent key by somebody else")
	grows("a Release of the released key by somebody else")
	t.ok(t.extend(id, c.Owner, 0), "Extend with lease 0")
	grows("a lease that was given up")
	force.Fence = last
	t.ok(t.resolve(id, force), "Resolve of a running record by force")
	grows("a forced Resolve to absent")
	t.ok(t.complete(id, c.Owner, answer("done")), "Complete")
	force.Fence = last
	t.ok(t.resolve(id, force), "Resolve of a done record by force")
	grows("a forced Resolve of a done record to absent")
	t.ok(t.release(id, c.Owner), "Release")
	t.outlive()
	grows("Release, when its lease would be over but the residue is not")

	fencesAtOnce(t)
	resolveByFence(t)
	forceRaisesFence(t)
}

// fencesAtOnce makes callers follow each other as fast as they can: no fence is granted twice.
func fencesAtOnce(t *trial) {
	id, c := newID(), t.claim()
	granted := make(map[uint64]bool)
	for range 8 {
		grants, claims := t.contend(id, c)
		for _, i := range winners(grants) {
			fence := grants[i].Record.Fence
			if granted[fence] {
				t.fatalf("fence %d was granted twice", fence)
			}
			granted[fence] = true
			t.ok(t.release(id, claims[i].Owner), "Release")
		}
	}
	if len(granted) != 8 {
		t.fatalf("8 rounds of Acquire and Release granted %d fences", len(granted))
	}
}

// resolveByFence checks that a Resolve acts on a doubt with the fence that was seen, and on nothing else.
func resolveByFence(t *trial) {
	out := answer("resolved")
	for _, s := range t.scenes() {
		fence := t.get(s.id).Fence
		if !s.present() {
			fence = s.fence
		}
		t.unchanged(s.id, "a Resolve that is lost", func() {
			for _, wrong := range []uint64{fence - 1, fence + 1} {
				t.lost(t.resolve(s.id, driver.Resolution{Fence: wrong, Outcome: &out}), "Resolve with another fence of a key that is %s", s.name)
				t.lost(t.resolve(s.id, driver.Resolution{Fence: wrong, Force: true}), "forced Resolve with another fence of a key that is %s", s.name)
			}
			if s.stranger != driver.InDoubt {
				t.lost(t.resolve(s.id, driver.Resolution{Fence: fence, Outcome: &out}), "Resolve of a key that is %s", s.name)
			}
			if !s.present() {
				t.lost(t.resolve(s.id, driver.Resolution{Fence: fence, Force: true}), "forced Resolve of a key that is %s", s.name)
			}
		})
		if s.stranger == driver.InDoubt {
			t.ok(t.resolve(s.id, driver.Resolution{Fence: fence, Outcome: &out}), "Resolve of a key that is %s", s.name)
			t.outcome(t.get(s.id), out, "after Resolve of a key that is %s", s.name)
			t.near(t.get(s.id).Left, s.claim.Retain, "Left after Resolve, by the claim's retention,")
			t.lost(t.resolve(s.id, driver.Resolution{Fence: fence}), "Resolve of a doubt that has been resolved")
		}
	}
}

func forceRaisesFence(t *trial) {
	for _, s := range t.scenes() {
		if !s.present() {
			continue
		}
		out := answer("by force, " + s.name)
		seen := t.get(s.id).Fence
		t.ok(t.resolve(s.id, driver.Resolution{Fence: seen, Outcome: &out, Force: true}), "forced Resolve of a key that is %s", s.name)
		r := t.get(s.id)
		t.outcome(r, out, "after a forced Resolve of a key that is %s", s.name)
		if r.Fence <= seen {
			t.fatalf("a forced Resolve of a key that is %s left the fence at %d, it was %d", s.name, r.Fence, seen)
		}
		t.unchanged(s.id, "an owner who was resolved away by force", func() {
			t.lost(t.complete(s.id, s.claim.Owner, out), "Complete by the owner who was resolved away by force")
			t.lost(t.release(s.id, s.claim.Owner), "Release by the owner who was resolved away by force")
		})
	}
}

func givingUpIsImmediate(t *trial) {
	hold, rerun, last := t.claim(), t.claim(), t.claim()
	rerun.OnCrash = driver.Rerun
	last.OnCrash, last.MaxAttempts = driver.Rerun, 1
	for name, c := range map[string]driver.Claim{"hold": hold, "rerun with its attempts used up": last} {
		id := newID()
		fence := t.acquire(id, c).Record.Fence
		note := driver.Note{Actor: "owner", Reason: "upstream broke off"}
		t.ok(t.store.Extend(bg, id, c.Owner, driver.Extension{Note: note}), "Extend with lease 0")
		r := t.state(id, "in-doubt", "just after a lease was given up under %s", name)
		if !r.GivenUp || r.Lease > 0 || r.Note != note {
			t.fatalf("after a lease was given up under %s: given up %v, lease %v, note %+v", name, r.GivenUp, r.Lease, r.Note)
		}
		t.near(r.Left, c.DoubtRetain, "Left just after a lease was given up")
		t.wants(driver.InDoubt, id, by(c), "Acquire just after a lease was given up under %s", name)
		t.ok(t.resolve(id, driver.Resolution{Fence: fence}), "Resolve just after a lease was given up under %s", name)
		t.wants(driver.Acquired, id, by(c), "Acquire after the Resolve")
	}

	id := newID()
	first := t.acquire(id, rerun).Record
	t.ok(t.extend(id, rerun.Owner, 0), "Extend with lease 0")
	next := t.wants(driver.Acquired, id, by(rerun), "Acquire just after a lease was given up under rerun").Record
	if next.Fence <= first.Fence || next.Attempt != first.Attempt+1 || next.GivenUp {
		t.fatalf("the attempt after a lease was given up has fence %d, attempt %d, given up %v; the one before had fence %d, attempt %d",
			next.Fence, next.Attempt, next.GivenUp, first.Fence, first.Attempt)
	}

	id = newID()
	t.acquire(id, hold)
	t.ok(t.extend(id, hold.Owner, 0), "Extend with lease 0")
	t.ok(t.extend(id, hold.Owner, t.long()), "Extend by an owner who gave up and came back")
	if t.state(id, "running", "after the owner came back").GivenUp {
		t.fatalf("the lease is still reported as given up after the owner came back")
	}
	t.ok(t.extend(id, hold.Owner, 0), "Extend with lease 0")
	t.ok(t.complete(id, hold.Owner, answer("after all")), "Complete by an owner who gave up")
	t.outcome(t.get(id), answer("after all"), "after the Complete of an owner who gave up")
}
