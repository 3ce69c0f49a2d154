package diskstore

import (
	"math"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/record"
)

// An entry is what is stored of a key. Its instants are those of the store's clock, in nanoseconds: a coarser unit would
// have to be rounded, and a lease must not end early. What stays of a key that was released or resolved away is a
// residue: an entry in PhaseAbsent that has only IDTag, Owner, Fence, Since and Gone. A nil entry is no trace at all.
type entry record.Stored

func newEntry(id driver.ID, c *driver.Claim, fence uint64, now int64) *entry {
	e := &entry{
		IDTag:        [4]byte(id[:]),
		Phase:        driver.PhaseRunning,
		OnCrash:      c.OnCrash,
		Owner:        c.Owner,
		Fence:        fence,
		Attempt:      1,
		MaxAttempts:  c.MaxAttempts,
		MaxExecution: c.MaxExecution,
		Labels:       c.Labels,
		Fingerprint:  c.Fingerprint,
		Since:        now,
	}
	e.renew(c, now)
	return e
}

func newResidue(id driver.ID, o driver.Owner, fence uint64, now int64, keep time.Duration) *entry {
	return &entry{IDTag: [4]byte(id[:]), Owner: o, Fence: fence, Since: now, Gone: after(now, keep)}
}

// residue is what stays of the entry when it is released or resolved away.
func (e *entry) residue(id driver.ID, now int64) *entry {
	twice := time.Duration(after(int64(e.Lease), e.Lease))
	return newResidue(id, e.Owner, e.Fence, now, max(driver.MinResidue, twice))
}

// renew starts the lease anew for the owner.
func (e *entry) renew(c *driver.Claim, now int64) {
	e.Lease, e.Retain, e.DoubtRetain = c.Lease, c.Retain, c.DoubtRetain
	e.LeaseEnd, e.Gone = after(now, c.Lease), after(now, c.DoubtRetain)
	e.GivenUp = false
	e.Note = c.Note
}

// takeOver starts the next attempt. The fingerprint stays the first one: every claim that matched so far still matches,
// also those of processes that do not know the newer algorithm yet.
func (e *entry) takeOver(c *driver.Claim, now int64) {
	e.Owner, e.Since = c.Owner, now
	e.Fence++
	e.Attempt++
	e.renew(c, now)
}

func (e *entry) extend(x *driver.Extension, now int64) {
	e.Note = x.Note
	e.GivenUp = x.Lease <= 0
	e.LeaseEnd, e.Gone = now, after(now, e.DoubtRetain)
	if !e.GivenUp { // else the old length stays, for the residue
		e.Lease, e.LeaseEnd = x.Lease, after(now, x.Lease)
	}
}

// giveUp is the step of a lease that is given up, which may have been already.
func (e *entry) giveUp(note driver.Note) driver.Step {
	if e.GivenUp && e.Note == note {
		return 0
	}
	return driver.StepGivenUp
}

func (e *entry) complete(out *driver.Outcome, now int64) {
	e.Phase, e.Since = driver.PhaseDone, now
	e.Kind, e.Outcome, e.Note, e.OutcomeNote = out.Kind, out.Bytes, out.Note, nil
	keep := e.Retain
	if out.Retain > 0 {
		keep = out.Retain
	}
	e.Gone = after(now, keep)
}

func (e *entry) resolve(res *driver.Resolution, now int64) {
	e.complete(res.Outcome, now)
	e.Resolved = true
	if res.Note != e.Note {
		own := e.Note
		e.Note, e.OutcomeNote = res.Note, &own
	}
}

// phaseAt is the phase as callers see it: an expired record is absent.
func (e *entry) phaseAt(now int64) driver.Phase {
	if e == nil || e.Gone <= now {
		return driver.PhaseAbsent
	}
	return e.Phase
}

// refuses reports whether this is a residue that still names o.
func (e *entry) refuses(o driver.Owner, now int64) bool {
	return e != nil && e.Phase == driver.PhaseAbsent && e.Gone > now && e.Owner == o
}

// lastFence is the fence of an earlier attempt, as long as there is any trace of it.
func (e *entry) lastFence() uint64 {
	if e == nil {
		return 0
	}
	return e.Fence
}

func (e *entry) rerunnable() bool { return e.OnCrash == driver.Rerun && e.Attempt < e.MaxAttempts }

// view is the record as callers see it, without the outcome's bytes.
func (e *entry) view(id driver.ID, now int64) driver.Record {
	phase := e.phaseAt(now)
	if phase == driver.PhaseAbsent {
		return driver.Record{ID: id}
	}
	v := driver.Record{
		ID: id, Phase: phase, Labels: e.Labels, Fingerprint: e.Fingerprint, OnCrash: e.OnCrash, Fence: e.Fence,
		Attempt: e.Attempt, MaxAttempts: e.MaxAttempts, MaxExecution: e.MaxExecution,
		Left: time.Duration(e.Gone - now), Note: e.Note,
		Age: time.Duration(max(0, now-e.Since)), // the clock may have been set back between two runs
	}
	if phase == driver.PhaseRunning {
		v.Lease, v.GivenUp = time.Duration(e.LeaseEnd-now), e.GivenUp
		return v
	}
	v.Outcome = driver.Outcome{Kind: e.Kind, Note: e.Note}
	if e.OutcomeNote != nil {
		v.Outcome.Note = *e.OutcomeNote
	}
	return v
}

// read is view with the outcome's bytes, which the caller may keep.
func (e *entry) read(id driver.ID, now int64) driver.Record {
	v := e.view(id, now)
	if v.Phase == driver.PhaseDone {
		v.Outcome.Bytes = e.Outcome
	}
	return v
}

// after is at + d, without wrapping around for those who keep something for ever.
func after(at int64, d time.Duration) int64 {
	if int64(d) > math.MaxInt64-at {
		return math.MaxInt64
	}
	return at + int64(d)
}
