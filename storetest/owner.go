package storetest

import (
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// Rules 6, 7 and 8: who may extend, complete and release.

func onlyTheOwnerActs(t *trial) {
	for _, s := range t.scenes() {
		t.refuses(s, newOwner(), "a stranger")
		if s.owner != driver.Acquired {
			t.refuses(s, s.claim.Owner, "the last owner")
		}
	}
	t.refuses(&scene{name: "absent", id: newID()}, newOwner(), "a stranger")
	afterTakeOver(t)
	afterExpiry(t)
	late(t)
}

// refuses checks that all verbs are lost to somebody who does not own the key.
func (t *trial) refuses(s *scene, o driver.Owner, who string) {
	t.Helper()
	t.unchanged(s.id, who+" of a key that is "+s.name, func() {
		t.Helper()
		t.lost(t.extend(s.id, o, t.long()/2), "Extend by %s of a key that is %s", who, s.name)
		t.lost(t.extend(s.id, o, 0), "Extend with lease 0 by %s of a key that is %s", who, s.name)
		t.lost(t.complete(s.id, o, answer("not mine")), "Complete by %s of a key that is %s", who, s.name)
		t.lost(t.complete(s.id, o, answer("")), "Complete with an empty outcome by %s of a key that is %s", who, s.name)
		if s.present() && s.claim.Owner != (driver.Owner{}) {
			t.lost(t.release(s.id, o), "Release by %s of a key that is %s", who, s.name)
		} else {
			t.ok(t.release(s.id, o), "Release by %s of a key that is %s", who, s.name)
		}
	})
}

func afterTakeOver(t *trial) {
	s := &scene{name: "taken over", id: newID(), claim: t.claim(), owner: driver.Running}
	s.claim.OnCrash, s.claim.Lease = driver.Rerun, t.short()
	t.acquire(s.id, s.claim)
	t.outlive()
	second := by(s.claim)
	second.Lease = t.long()
	t.wants(driver.Acquired, s.id, second, "take-over of a rerun key whose lease is over")
	t.refuses(s, s.claim.Owner, "the first owner")
	t.ok(t.complete(s.id, second.Owner, answer("second")), "Complete by the new owner")
	s.name = "taken over and done"
	t.refuses(s, s.claim.Owner, "the first owner")
	t.outcome(t.get(s.id), answer("second"), "after the first owner's late calls")
}

// afterExpiry checks that a record which is over is nobody's, swept or not.
func afterExpiry(t *trial) {
	running, done := newID(), newID()
	c := t.claim()
	c.Retain = t.short()
	t.acquire(done, c)
	t.completeBriefly(done, c.Owner)
	c.Lease, c.DoubtRetain = t.short(), t.short()
	t.acquire(running, c)
	t.outlive()
	for name, id := range map[string]driver.ID{"running": running, "done": done} {
		t.lost(t.extend(id, c.Owner, t.long()), "Extend of a %s record that has expired", name)
		t.lost(t.complete(id, c.Owner, answer("old")), "Complete of a %s record that has expired", name)
		t.ok(t.release(id, c.Owner), "Release of a %s record that has expired", name)
		t.state(id, "absent", "after the calls on an expired record")
	}
}

// late checks the owner of a lease that is over, while nobody has taken the key over.
func late(t *trial) {
	verbs := map[string]func(s *scene){
		"Complete": func(s *scene) {
			t.ok(t.complete(s.id, s.claim.Owner, answer("late")), "Complete by the owner of a key that is %s", s.name)
			t.outcome(t.get(s.id), answer("late"), "after a late Complete")
		},
		"Extend": func(s *scene) {
			t.ok(t.extend(s.id, s.claim.Owner, t.long()), "Extend by the owner of a key that is %s", s.name)
			if r := t.state(s.id, "running", "after a late Extend"); r.GivenUp || r.Lease <= 0 {
				t.fatalf("after a late Extend of a key that is %s: lease %v, given up %v", s.name, r.Lease, r.GivenUp)
			}
			t.wants(driver.Running, s.id, by(s.claim), "Acquire after a late Extend")
		},
		"Release": func(s *scene) {
			t.ok(t.release(s.id, s.claim.Owner), "Release by the owner of a key that is %s", s.name)
			t.wants(driver.Acquired, s.id, by(s.claim), "Acquire after a late Release")
		},
	}
	for _, call := range verbs {
		for _, s := range t.scenes() {
			if s.owner == driver.Acquired {
				call(s)
			}
		}
	}
}

func completeRepeated(t *trial) {
	for _, out := range []driver.Outcome{answer("once"), answer(""), {Kind: driver.Tombstone, Bytes: []byte("201")}} {
		id, c := newID(), t.claim()
		t.acquire(id, c)
		t.ok(t.complete(id, c.Owner, out), "Complete")
		t.unchanged(id, "a repeated Complete", func() {
			t.ok(t.complete(id, c.Owner, out), "Complete repeated with %s", show(out))
			t.ok(t.complete(id, c.Owner, out), "Complete repeated again with %s", show(out))
			other := out
			other.Bytes = append([]byte("not "), out.Bytes...)
			t.lost(t.complete(id, c.Owner, other), "Complete with %s after %s", show(other), show(out))
			other = out
			other.Kind = driver.Answer + driver.Tombstone - out.Kind
			t.lost(t.complete(id, c.Owner, other), "Complete with %s after %s", show(other), show(out))
			t.lost(t.complete(id, newOwner(), out), "Complete with the same outcome by somebody else")
		})
		t.outcome(t.get(id), out, "after the repeated Completes")
	}
	for _, s := range t.scenes() {
		// Whoever was resolved away is told so, even if the operator chose the very same outcome.
		if s.name == "resolved to done" || s.name == "forced to done" {
			t.unchanged(s.id, "Complete after a Resolve", func() {
				t.lost(t.complete(s.id, s.claim.Owner, answer("stored")), "Complete by the old owner of a key that is %s", s.name)
			})
		}
	}
	differentAtOnce(t)
}

// differentAtOnce checks that of several outcomes of one owner one is stored and the others are told so.
func differentAtOnce(t *trial) {
	id, c := newID(), t.claim()
	t.acquire(id, c)
	outcomes := []driver.Outcome{answer("a"), answer("b"), answer("c"), answer("a"), answer("b"), answer("c")}
	errs := make([]error, len(outcomes))
	var all sync.WaitGroup
	for i, out := range outcomes {
		all.Go(func() { errs[i] = t.complete(id, c.Owner, out) })
	}
	all.Wait()
	stored := t.get(id)
	for i, err := range errs {
		if string(outcomes[i].Bytes) == string(stored.Outcome.Bytes) {
			t.ok(err, "Complete with the outcome that is stored, among others at the same moment")
		} else {
			t.lost(err, "Complete with %s, when %s is stored", show(outcomes[i]), show(stored.Outcome))
		}
	}
	t.outcome(stored, outcomes[stored.Outcome.Bytes[0]-'a'], "after different Completes at the same moment")
}

func releaseOfNothing(t *trial) {
	c := t.claim()
	id := newID()
	t.ok(t.release(id, c.Owner), "Release of an absent key")
	t.ok(t.release(id, c.Owner), "Release of an absent key, repeated")
	t.state(id, "absent", "after Release of an absent key")
	t.wants(driver.Lost, id, c, "Acquire that arrives after its owner's Release")
	t.wants(driver.Lost, id, c, "Acquire that arrives after its owner's Release, repeated")
	t.state(id, "absent", "after an Acquire that came too late")
	next := by(c)
	t.wants(driver.Acquired, id, next, "Acquire by somebody else after Release of an absent key")
	t.lost(t.release(id, c.Owner), "Release of a key that somebody else has acquired since")
	t.state(id, "running", "after a stranger's Release")

	id = newID()
	t.acquire(id, c)
	t.ok(t.release(id, c.Owner), "Release")
	t.ok(t.release(id, c.Owner), "Release repeated")
	t.wants(driver.Lost, id, c, "Acquire repeated after Release")
	t.wants(driver.Acquired, id, by(c), "Acquire by somebody else after Release")
	releaseRaces(t)
	residueLasts(t)
}

// releaseRaces checks that in whatever order an Acquire and its owner's Release arrive, the key is free in the end.
func releaseRaces(t *trial) {
	for range 16 {
		id, c := newID(), t.claim()
		var both sync.WaitGroup
		var released error
		both.Go(func() { released = t.release(id, c.Owner) })
		both.Go(func() { _, _ = t.store.Acquire(bg, id, c) }) // it may come too late
		both.Wait()
		t.ok(released, "Release at the same moment as its owner's Acquire")
		t.wants(driver.Acquired, id, by(c), "Acquire after an Acquire and its Release at the same moment")
	}
}

// residueLasts checks that a late Acquire is refused for two leases, at least for MinResidue. A minute is too long to
// wait in real time, so there two leases of a unit have to do.
func residueLasts(t *trial) {
	brief, lengthy := t.claim(), t.claim()
	brief.Lease = t.short()
	lengthy.Lease = 4 * driver.MinResidue
	unasked, released, long := newID(), newID(), newID()
	start := time.Now()
	t.ok(t.release(unasked, brief.Owner), "Release of an absent key")
	t.acquire(released, brief)
	t.ok(t.release(released, brief.Owner), "Release")
	t.acquire(long, lengthy)
	t.ok(t.release(long, lengthy.Owner), "Release")

	minimum, twice := driver.MinResidue, 2*lengthy.Lease
	if t.opts.RealTime {
		minimum, twice = 2*t.short(), 3*t.short()
	}
	time.Sleep(time.Until(start.Add(minimum - t.slack())))
	t.wants(driver.Lost, unasked, brief, "Acquire %v after its owner's Release of an absent key", minimum-t.slack())
	t.wants(driver.Lost, released, brief, "Acquire %v after its owner's Release", minimum-t.slack())
	time.Sleep(time.Until(start.Add(twice - t.slack())))
	t.wants(driver.Lost, long, lengthy, "Acquire almost two leases of %v after its owner's Release", lengthy.Lease)
}
