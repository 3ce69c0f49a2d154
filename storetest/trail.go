package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/onceward/onceward/driver"
)

// Rule 18: what the audit trail tells.

func trailTellsEachStep(t *trial) {
	if t.trail == nil {
		t.notApplicable("an audit trail", "Trail")
		return
	}
	for _, level := range []driver.AuditLevel{driver.AuditTransitions, driver.AuditAll} {
		t.store = t.trail(level, t.long())
		for _, tell := range []func(*tale){taleOfADoubt, taleOfForce, taleOfATakeOver, taleOfAnExpiry} {
			tell(t.newTale(level))
		}
	}
	trailSelects(t)
	offTellsNothing(t)
}

// tale is what happens to one key, and what its trail must hold.
type tale struct {
	*trial
	level driver.AuditLevel
	id    driver.ID
	claim driver.Claim
	fence uint64
	want  []driver.Entry
}

func (t *trial) newTale(level driver.AuditLevel) *tale {
	c := t.claim()
	c.Labels = driver.Labels{KeyTag: [8]byte([]byte(random(8))), KeyHint: "0198…\x00\xff", Operation: "POST /" + random(8)}
	return &tale{trial: t, level: level, id: newID(), claim: c}
}

// fresh is a note that no other call has.
func fresh(reason string) driver.Note {
	return driver.Note{Actor: "ops \x00\xff", Reason: reason, TraceID: random(16), Node: "node " + random(4)}
}

// told checks that the trail holds what it held before and then one entry.
func (s *tale) told(what string, step driver.Step, attempt int, kind driver.Kind, note driver.Note) {
	s.Helper()
	s.want = append(s.want, driver.Entry{
		ID: s.id, Step: step, Attempt: attempt, Fence: s.fence, Kind: kind, Note: note,
		KeyTag: s.claim.Labels.KeyTag, KeyHint: s.claim.Labels.KeyHint, Operation: s.claim.Labels.Operation,
	})
	s.nothingMore(what)
}

// toldIfAll is told of a sign of life.
func (s *tale) toldIfAll(what string, attempt int, note driver.Note) {
	s.Helper()
	if s.level == driver.AuditAll {
		s.told(what, driver.StepExtended, attempt, 0, note)
		return
	}
	s.nothingMore(what)
}

// nothingMore checks that the trail holds what it must, and nothing else.
func (s *tale) nothingMore(what string) {
	s.Helper()
	got := s.history(driver.HistoryQuery{ID: &s.id})
	for i := range got {
		got[i].Time = time.Time{}
	}
	if !slices.Equal(got, s.want) {
		s.fatalf("after %s the trail at the level %v is\n%swant\n%s", what, s.level, list(got), list(s.want))
	}
}

func (s *tale) acquire(what string, step driver.Step) {
	s.Helper()
	s.claim = by(s.claim)
	s.claim.Note = fresh(what)
	r := s.wants(driver.Acquired, s.id, s.claim, "%s", what).Record
	s.fence = r.Fence
	s.told(what, step, r.Attempt, 0, s.claim.Note)
}

func (s *tale) extend(lease time.Duration, note driver.Note) {
	s.Helper()
	s.ok(s.store.Extend(bg, s.id, s.claim.Owner, driver.Extension{Lease: lease, Note: note}), "Extend with lease %v", lease)
}

func (s *tale) giveUp() {
	s.Helper()
	note := fresh("gave up")
	s.extend(0, note)
	s.told("Extend with lease 0", driver.StepGivenUp, 1, 0, note)
	s.extend(0, note)
	s.nothingMore("the same Extend with lease 0 again, as when its reply was lost,")
}

// losers makes the calls of somebody else, and of an operator who saw another fence.
func (s *tale) losers(state string, verdict driver.Verdict) {
	s.Helper()
	stranger := by(s.claim)
	stranger.Note = fresh("a stranger")
	s.wants(verdict, s.id, stranger, "Acquire by somebody else of a key that is %s", state)
	other := stranger
	other.Fingerprint.Sum = "another request"
	s.wants(driver.Mismatch, s.id, other, "Acquire for another request of a key that is %s", state)
	o, n := stranger.Owner, stranger.Note
	s.lost(s.store.Extend(bg, s.id, o, driver.Extension{Lease: s.long(), Note: n}), "Extend by somebody else")
	s.lost(s.store.Complete(bg, s.id, o, driver.Outcome{Kind: driver.Answer, Note: n}), "Complete by somebody else")
	s.lost(s.store.Release(bg, s.id, o, n), "Release by somebody else")
	s.lost(s.resolve(s.id, driver.Resolution{Fence: s.fence + 1, Force: true, Note: n}), "Resolve with another fence")
	s.nothingMore("calls that lost on a key that is " + state)
}

func taleOfADoubt(s *tale) {
	s.acquire("Acquire of a new key", driver.StepAcquired)
	s.claim.Note = fresh("again")
	s.wants(driver.Acquired, s.id, s.claim, "Acquire repeated by the owner")
	s.toldIfAll("Acquire repeated by the owner", 1, s.claim.Note)
	note := fresh("alive")
	s.extend(s.long(), note)
	s.toldIfAll("Extend", 1, note)
	s.losers("running", driver.Running)
	s.giveUp()
	s.losers("in doubt", driver.InDoubt)
	note = fresh("back")
	s.extend(s.long(), note)
	s.told("Extend by an owner who had given up", driver.StepExtended, 1, 0, note)
	s.giveUp()
	note = fresh("gave up for another reason")
	s.extend(0, note)
	s.told("Extend with lease 0 and another note", driver.StepGivenUp, 1, 0, note)
	s.claim.Note = fresh("back by Acquire")
	s.wants(driver.Acquired, s.id, s.claim, "Acquire by an owner who had given up")
	s.told("Acquire by an owner who had given up", driver.StepExtended, 1, 0, s.claim.Note)
	s.giveUp()

	res := driver.Resolution{Fence: s.fence, Outcome: &driver.Outcome{Kind: driver.Tombstone}, Note: fresh("seen at the bank")}
	s.ok(s.resolve(s.id, res), "Resolve")
	s.told("Resolve to done", driver.StepResolved, 1, driver.Tombstone, res.Note)
	s.lost(s.resolve(s.id, res), "the same Resolve again")
	s.lost(s.complete(s.id, s.claim.Owner, answer("late")), "Complete by an owner who was resolved away")
	s.losers("resolved to done", driver.Done)
}

func taleOfForce(s *tale) {
	s.ok(s.store.Release(bg, s.id, newOwner(), fresh("of nothing")), "Release of a key that never was")
	s.nothingMore("the Release of a key that never was")
	s.acquire("Acquire of a new key", driver.StepAcquired)
	res := driver.Resolution{
		Fence: s.fence, Force: true, Note: fresh("by force"), Outcome: &driver.Outcome{Kind: driver.Answer, Note: fresh("the outcome's own")},
	}
	s.ok(s.resolve(s.id, res), "forced Resolve of a running record")
	s.fence = s.get(s.id).Fence
	s.told("forced Resolve to done", driver.StepForced, 1, driver.Answer, res.Note)
	res = driver.Resolution{Fence: s.fence, Force: true, Note: fresh("by force again")}
	s.ok(s.resolve(s.id, res), "forced Resolve of a done record")
	s.fence++ // all stores count by one
	s.told("forced Resolve to absent", driver.StepForced, 1, 0, res.Note)
	s.lost(s.resolve(s.id, res), "the same Resolve again")
	s.ok(s.store.Release(bg, s.id, newOwner(), fresh("of nothing")), "Release of nothing")
	s.nothingMore("calls on a key that is absent")

	s.acquire("Acquire of a key that was made free", driver.StepAcquired)
	note := fresh("nothing happened")
	s.ok(s.store.Release(bg, s.id, s.claim.Owner, note), "Release")
	s.told("Release", driver.StepReleased, 1, 0, note)
	s.ok(s.store.Release(bg, s.id, s.claim.Owner, note), "the same Release again")
	s.wants(driver.Lost, s.id, s.claim, "Acquire by an owner who had released")
	s.nothingMore("a Release repeated, and the Acquire of an owner who had released")

	s.acquire("Acquire of a released key", driver.StepAcquired)
	s.giveUp()
	res = driver.Resolution{Fence: s.fence, Note: fresh("it did not happen")}
	s.ok(s.resolve(s.id, res), "Resolve to absent")
	s.told("Resolve to absent", driver.StepResolved, 1, 0, res.Note)
	s.wants(driver.Lost, s.id, s.claim, "Acquire by an owner who was resolved away")
	s.nothingMore("the Acquire of an owner who was resolved away")
}

func taleOfATakeOver(s *tale) {
	s.claim.OnCrash, s.claim.Lease = driver.Rerun, s.short()
	s.acquire("Acquire of a new key", driver.StepAcquired)
	first := s.claim.Owner
	s.outlive()
	s.nothingMore("the end of a lease")
	s.claim.Lease = s.long()
	s.acquire("Acquire of a rerun key whose lease is over", driver.StepTakenOver)
	s.lost(s.complete(s.id, first, answer("late")), "Complete by an owner who was overtaken")
	out := driver.Outcome{Kind: driver.Answer, Bytes: []byte("paid"), Note: fresh("done")}
	s.ok(s.store.Complete(bg, s.id, s.claim.Owner, out), "Complete")
	s.told("Complete", driver.StepCompleted, 2, driver.Answer, out.Note)
	s.ok(s.store.Complete(bg, s.id, s.claim.Owner, out), "the same Complete again")
	s.nothingMore("the same Complete again")
	s.lost(s.complete(s.id, s.claim.Owner, answer("not paid")), "Complete with another outcome")
	s.wants(driver.Done, s.id, s.claim, "Acquire by the owner of a done key")
	s.losers("done", driver.Done)
}

func taleOfAnExpiry(s *tale) {
	s.claim.Retain = s.short()
	s.acquire("Acquire of a new key", driver.StepAcquired)
	note := fresh("done")
	s.ok(s.store.Complete(bg, s.id, s.claim.Owner, driver.Outcome{Kind: driver.Answer, Note: note}), "Complete")
	s.told("Complete", driver.StepCompleted, 1, driver.Answer, note)
	s.outlive()
	s.nothingMore("the end of a record's retention")
	s.claim.Retain = s.long()
	s.acquire("Acquire of a key that has expired", driver.StepAcquired)
}

func offTellsNothing(t *trial) {
	t.store = t.trail(driver.AuditOff, t.long())
	id, c := newID(), t.claim()
	t.acquire(id, c)
	t.ok(t.complete(id, c.Owner, answer("done")), "Complete")
	page, _, err := t.historian().History(bg, driver.HistoryQuery{ID: &id})
	if len(page) > 0 || err != nil && !errors.Is(err, errors.ErrUnsupported) {
		t.fatalf("at the level off the trail is\n%swith the error %v, want nothing, or ErrUnsupported", list(page), errorText(err))
	}
}
