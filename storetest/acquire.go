package storetest

import (
	"context"
	"slices"
	"sync"

	"github.com/onceward/onceward/driver"
)

// Rules 1, 4 and 5: who acquires.

func oneAcquires(t *trial) {
	for _, s := range t.contested() {
		grants, claims := t.contend(s.id, s.claim)
		won := winners(grants)
		if len(won) != 1 {
			t.fatalf("%d of %d callers acquired %s at the same moment, want 1", len(won), len(grants), s.name)
		}
		winner := won[0]
		for i, g := range grants {
			if i != winner && (g.Verdict != driver.Running || g.Record.Fence != grants[winner].Record.Fence) {
				t.fatalf("a caller that did not acquire %s was told %v, fence %d; want running, fence %d",
					s.name, g.Verdict, g.Record.Fence, grants[winner].Record.Fence)
			}
			if i != winner {
				t.lost(t.complete(s.id, claims[i].Owner, answer("loser")), "Complete by a caller that did not acquire %s", s.name)
			}
		}
		t.ok(t.complete(s.id, claims[winner].Owner, answer("winner")), "Complete by the one that acquired %s", s.name)
		t.nobodyAcquires(s.id, s.claim, driver.Done, s.name+", once it is done")
	}
	for _, s := range t.scenes() {
		if s.loses() {
			t.nobodyAcquires(s.id, s.claim, s.stranger, "a key that is "+s.name)
		}
	}
	policyOfTheFirst(t)
}

// contested are keys that may be acquired, each once.
func (t *trial) contested() []scene {
	t.Helper()
	var all []scene
	for range 8 {
		all = append(all, scene{name: "an absent key", id: newID(), claim: t.claim()})
	}
	ready := func(name string, c driver.Claim, then func(id driver.ID)) {
		t.Helper()
		id := newID()
		t.wants(driver.Acquired, id, c, "Acquire of a new key")
		then(id)
		all = append(all, scene{name: name, id: id, claim: t.claim()})
	}
	c := t.claim()
	ready("a released key", c, func(id driver.ID) { t.ok(t.release(id, c.Owner), "Release") })
	c.Retain = t.short()
	ready("a done record that has just expired", c, func(id driver.ID) {
		t.completeBriefly(id, c.Owner)
	})
	c.Lease, c.DoubtRetain = t.short(), t.short()
	ready("a running record that has just expired", c, func(driver.ID) {})
	c.OnCrash, c.DoubtRetain = driver.Rerun, t.long()
	ready("a rerun key whose lease is over", c, func(driver.ID) {})
	c.Lease = t.long()
	ready("a rerun key that was given up", c, func(id driver.ID) {
		t.ok(t.extend(id, c.Owner, 0), "Extend with lease 0")
	})
	t.outlive()
	return all
}

// contend makes many callers ask at the same moment.
func (t *trial) contend(id driver.ID, c driver.Claim) ([]driver.Grant, []driver.Claim) {
	t.Helper()
	const callers = 16
	grants, claims, errs := make([]driver.Grant, callers), make([]driver.Claim, callers), make([]error, callers)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range callers {
		claims[i] = by(c)
		all.Go(func() {
			<-start
			grants[i], errs[i] = t.store.Acquire(context.Background(), id, claims[i])
		})
	}
	close(start)
	all.Wait()
	for _, err := range errs {
		t.ok(err, "Acquire by one of %d callers", callers)
	}
	return grants, claims
}

func winners(grants []driver.Grant) (won []int) {
	for i, g := range grants {
		if g.Verdict == driver.Acquired {
			won = append(won, i)
		}
	}
	return won
}

func (t *trial) nobodyAcquires(id driver.ID, c driver.Claim, want driver.Verdict, what string) {
	t.Helper()
	grants, _ := t.contend(id, c)
	for _, g := range grants {
		if g.Verdict != want {
			t.fatalf("an Acquire of %s was answered %v, want %v", what, g.Verdict, want)
		}
	}
}

// policyOfTheFirst checks that a later claim cannot loosen what the first one fixed.
func policyOfTheFirst(t *trial) {
	first := t.claim()
	first.OnCrash, first.MaxAttempts, first.Lease = driver.Rerun, 2, t.short()
	later := by(first)
	later.OnCrash, later.MaxAttempts, later.MaxExecution = driver.Hold, 9, 2*first.MaxExecution
	held := by(first)
	held.OnCrash = driver.Hold
	id, heldID := newID(), newID()
	t.acquire(id, first)
	t.acquire(heldID, held)
	t.outlive()

	r := t.wants(driver.Acquired, id, later, "take-over of a rerun key whose lease is over").Record
	if r.Attempt != 2 || r.OnCrash != driver.Rerun || r.MaxAttempts != 2 || r.MaxExecution != first.MaxExecution {
		t.fatalf("a take-over must keep the policy of the first Acquire and count attempt 2, but the record is %+v", r)
	}
	rerun := by(held)
	rerun.OnCrash = driver.Rerun
	t.wants(driver.InDoubt, heldID, rerun, "Acquire with rerun of a hold key whose lease is over")
	t.outlive()
	t.wants(driver.InDoubt, id, by(later), "Acquire after the last of two attempts")
}

func losingChangesNothing(t *trial) {
	scenes := t.scenes()
	for _, s := range scenes {
		other := by(s.claim)
		other.Fingerprint.Sum = "another request"
		if s.present() {
			t.loses(s, other, driver.Mismatch, "an Acquire for another request of a key that is %s", s.name)
			own := other
			own.Owner = s.claim.Owner
			t.loses(s, own, driver.Mismatch, "the owner's Acquire for another request of a key that is %s", s.name)
			algorithm := by(s.claim)
			algorithm.Fingerprint.Algorithm = "sha512"
			t.loses(s, algorithm, driver.Mismatch, "an Acquire with another algorithm of a key that is %s", s.name)
		} else {
			t.loses(s, s.claim, driver.Lost, "an Acquire by the last owner of a key that is %s", s.name)
		}
		if s.loses() {
			t.loses(s, by(s.claim), s.stranger, "an Acquire of a key that is %s", s.name)
			other.Also = []driver.Fingerprint{{Algorithm: "sha512", Sum: "x"}, s.claim.Fingerprint}
			t.loses(s, other, s.stranger, "an Acquire of a key that is %s, whose second algorithm matches", s.name)
		}
	}
	// An absent key has no fingerprint: another request may have it.
	for _, s := range scenes {
		if !s.present() {
			other := by(s.claim)
			other.Fingerprint.Sum = "another request"
			t.wants(driver.Acquired, s.id, other, "an Acquire for another request of a key that is %s", s.name)
		}
	}
}

// loses makes a losing Acquire that differs in everything, and looks for a trace of it.
func (t *trial) loses(s *scene, c driver.Claim, want driver.Verdict, what string, args ...any) {
	t.Helper()
	c.OnCrash, c.MaxAttempts = driver.Rerun, 99
	c.MaxExecution, c.Lease, c.DoubtRetain, c.Retain = 2*t.long(), 2*t.long(), 3*t.long(), 4*t.long()
	c.Labels = driver.Labels{KeyHint: "loser", Operation: "loser", Route: "loser", Host: "loser"}
	c.Note = driver.Note{Actor: "loser", Reason: "loser"}
	c.Also = slices.Clone(c.Also)
	before := t.read(s.id)
	g := t.wants(want, s.id, c, what, args...)
	after := t.read(s.id)
	t.equal(after, before, "a losing Acquire of a key that is %s changed the record", s.name)
	if after.Record.Phase != driver.PhaseAbsent {
		t.equal(after, g, "the record of the verdict %v is not the one that Get returns", want)
		if c.Owner != s.claim.Owner {
			t.lost(t.extend(s.id, c.Owner, t.long()), "Extend by the loser of a key that is %s", s.name)
		}
	} else if g.Record.Phase != driver.PhaseAbsent {
		t.fatalf("the verdict %v came with a record that is %s, want absent", want, g.Record.State())
	}
}

func acquireRepeated(t *trial) {
	for _, s := range t.scenes() {
		before := t.read(s.id)
		c := s.claim
		c.Lease = t.long() / 2
		for range 2 {
			g := t.wants(s.owner, s.id, c, "Acquire repeated by the owner of a key that is %s", s.name)
			switch s.owner {
			case driver.Acquired:
				if g.Record.Fence != s.fence || g.Record.Attempt != before.Record.Attempt || g.Record.GivenUp {
					t.fatalf("Acquire repeated by the owner of a key that is %s answered fence %d, attempt %d, given up %v; want fence %d, attempt %d",
						s.name, g.Record.Fence, g.Record.Attempt, g.Record.GivenUp, s.fence, before.Record.Attempt)
				}
				t.left(g.Record.Lease, c.Lease, g, g.at, "the lease after a repeated Acquire")
				t.state(s.id, "running", "after a repeated Acquire")
			default:
				t.equal(t.read(s.id), before, "Acquire repeated by the last owner of a key that is %s changed the record", s.name)
			}
		}
	}
	doneThenForced(t)
	takenOver(t)
}

// doneThenForced checks the owner that finished, and asks again after an operator freed the key.
func doneThenForced(t *trial) {
	id, c := newID(), t.claim()
	t.acquire(id, c)
	t.ok(t.complete(id, c.Owner, answer("done")), "Complete")
	r := t.wants(driver.Done, id, c, "Acquire repeated by the owner that completed").Record
	t.ok(t.resolve(id, driver.Resolution{Fence: r.Fence, Force: true}), "Resolve of a done record by force")
	t.wants(driver.Lost, id, c, "Acquire repeated by an owner whose outcome was resolved away")
	next := by(c)
	t.wants(driver.Acquired, id, next, "Acquire after the outcome was resolved away")
	t.wants(driver.Running, id, c, "Acquire repeated by the first owner while the second runs")
}

func takenOver(t *trial) {
	id, first := newID(), t.claim()
	first.OnCrash, first.Lease = driver.Rerun, t.short()
	t.acquire(id, first)
	t.outlive()
	second := by(first)
	second.Lease = t.long()
	fence := t.wants(driver.Acquired, id, second, "take-over of a rerun key whose lease is over").Record.Fence
	t.wants(driver.Running, id, first, "Acquire repeated by an owner after a take-over")
	if got := t.wants(driver.Acquired, id, second, "Acquire repeated by the new owner").Record.Fence; got != fence {
		t.fatalf("Acquire repeated by the new owner answered fence %d, want %d", got, fence)
	}
}
