package storetest

import (
	"context"
	"time"

	"github.com/onceward/onceward/driver"
)

// Rules 2, 3 and 17: leases, lives and fences.

var bg = context.Background()

func durationsByOneClock(t *trial) {
	t.punctual(t.lifeOfRunning)
	for what, retain := range map[string][2]time.Duration{
		"the claim's retention":                                  {2 * t.short(), 0},
		"the outcome's own retention, shorter than the claim's,": {t.long(), 2 * t.short()},
		"the outcome's own retention, longer than the claim's,":  {t.short(), 2 * t.short()},
	} {
		t.punctual(func() (late bool) { return t.lifeOfDone(what, retain[0], retain[1]) })
	}
	ageOfAttempt(t)
	lengthyDurations(t)
}

// lifeOfRunning follows a record whose owner shows one sign of life and then none.
func (t *trial) lifeOfRunning() (late bool) {
	unit := t.opts.Unit
	id, c := newID(), t.claim()
	c.Lease, c.DoubtRetain = 2*unit, 4*unit
	r := t.acquire(id, c)
	begun := r.at
	t.clocks(r, c, begun, begun, "just after Acquire")

	time.Sleep(time.Until(begun.from.Add(unit)))
	t.clocks(t.read(id), c, begun, begun, "some time after Acquire")
	var err error
	extended := during(func() { err = t.extend(id, c.Owner, c.Lease) })
	if !extended.to.Before(begun.from.Add(c.DoubtRetain)) {
		return true
	}
	t.ok(err, "Extend")
	t.clocks(t.read(id), c, extended, begun, "just after Extend")

	if r, late = t.justBefore(extended.from.Add(c.Lease), id, by(c)); late {
		return true
	}
	t.verdict(r, driver.Running, "Acquire just before the lease is over")
	t.justAfter(extended.to.Add(c.Lease))
	gone := extended.from.Add(c.DoubtRetain)
	if r = t.acquire(id, by(c)); !r.at.to.Before(gone) {
		return true
	}
	t.verdict(r, driver.InDoubt, "Acquire just after the lease is over")
	if r.Record.GivenUp {
		t.fatalf("a lease that ran out is reported as given up")
	}
	if r, late = t.justBefore(gone, id, by(c)); late {
		return true
	}
	t.verdict(r, driver.InDoubt, "Acquire just before the doubt retention, counted from the last Extend, is over")
	t.justAfter(extended.to.Add(c.DoubtRetain))
	t.state(id, "absent", "just after the doubt retention is over")
	t.wants(driver.Acquired, id, by(c), "Acquire just after the doubt retention is over")
	return false
}

// lifeOfDone checks that an outcome is kept for two units, whatever the lease and the doubt retention are.
func (t *trial) lifeOfDone(what string, claimed, own time.Duration) (late bool) {
	unit := t.opts.Unit
	id, c := newID(), t.claim()
	c.Lease, c.DoubtRetain, c.Retain = unit, unit, claimed
	begun := t.acquire(id, c).at
	out := answer("kept")
	out.Retain = own
	var err error
	done := during(func() { err = t.complete(id, c.Owner, out) })
	if !done.to.Before(begun.from.Add(unit)) {
		return true
	}
	t.ok(err, "Complete")
	r := t.read(id)
	if !r.at.to.Before(done.from.Add(2 * unit)) {
		return true
	}
	t.left(r.Record.Left, 2*unit, r, done, "with %s Left just after Complete", what)
	least, most := r.at.after(done)
	t.within(r.Record.Age, least, most, "with %s Age just after Complete", what)
	if r.Record.Lease > 0 || r.Record.Outcome.Retain != 0 {
		t.fatalf("a done record has Lease %v and Outcome.Retain %v, want neither", r.Record.Lease, r.Record.Outcome.Retain)
	}
	if r, late = t.justBefore(done.from.Add(2*unit), id, by(c)); late {
		return true
	}
	t.verdict(r, driver.Done, "with %s Acquire just before it is over", what)
	t.outcome(r.Record, out, "the replay")
	t.justAfter(done.to.Add(2 * unit))
	t.state(id, "absent", "with %s just after it is over", what)
	t.wants(driver.Acquired, id, by(c), "with %s Acquire just after it is over", what)
	return false
}

func ageOfAttempt(t *trial) {
	id, c := newID(), t.claim()
	c.OnCrash, c.Lease = driver.Rerun, t.short()
	t.acquire(id, c)
	t.outlive()
	r := t.wants(driver.Acquired, id, by(c), "take-over of a rerun key whose lease is over")
	t.clocks(r, c, r.at, r.at, "just after a take-over")
}

// lengthyDurations checks that what nobody can wait for does not wrap: 2^31 milliseconds are 25 days, 2^32 are 50.
func lengthyDurations(t *trial) {
	const day = 24 * time.Hour
	for _, d := range []time.Duration{30 * day, 3650 * day} {
		id, c := newID(), t.claim()
		c.MaxExecution, c.Lease, c.DoubtRetain, c.Retain = d, d-2*day, d, d-3*day
		begun := t.acquire(id, c).at
		r := t.read(id)
		t.clocks(r, c, begun, begun, "just after Acquire")
		if r.Record.MaxExecution != d {
			t.fatalf("a MaxExecution of %v came back as %v", d, r.Record.MaxExecution)
		}
		c.Lease = d - day
		extended := during(func() { t.ok(t.extend(id, c.Owner, c.Lease), "Extend") })
		t.clocks(t.read(id), c, extended, begun, "just after Extend")
		done := during(func() { t.ok(t.complete(id, c.Owner, answer("kept")), "Complete") })
		r = t.read(id)
		t.left(r.Record.Left, c.Retain, r, done, "Left just after Complete, by the claim's retention,")

		id = newID()
		t.acquire(id, c)
		out := answer("kept")
		out.Retain = d
		done = during(func() { t.ok(t.complete(id, c.Owner, out), "Complete") })
		r = t.read(id)
		t.left(r.Record.Left, d, r, done, "Left just after Complete, by the outcome's own retention,")
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
			done := during(func() {
				t.ok(t.resolve(s.id, driver.Resolution{Fence: fence, Outcome: &out}), "Resolve of a key that is %s", s.name)
			})
			r := t.read(s.id)
			t.outcome(r.Record, out, "after Resolve of a key that is %s", s.name)
			t.left(r.Record.Left, s.claim.Retain, r, done, "Left after Resolve, by the claim's retention,")
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
		gaveUp := during(func() {
			t.ok(t.store.Extend(bg, id, c.Owner, driver.Extension{Note: note}), "Extend with lease 0")
		})
		seen := t.read(id)
		r := seen.Record
		if r.State() != "in-doubt" {
			t.fatalf("just after a lease was given up under %s the record is %s", name, r.State())
		}
		if !r.GivenUp || r.Lease > 0 || r.Note != note {
			t.fatalf("after a lease was given up under %s: given up %v, lease %v, note %+v", name, r.GivenUp, r.Lease, r.Note)
		}
		t.left(r.Left, c.DoubtRetain, seen, gaveUp, "Left just after a lease was given up")
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
