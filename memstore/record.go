package memstore

import (
	"math"
	"time"

	"github.com/onceward/onceward/driver"
)

// A record is what is known of a key. Instants are durations since the store's epoch. What stays of a key that was
// released or resolved away is a residue: a record in PhaseAbsent that has only id, owner, fence, touched and keep.
type record struct {
	id          driver.ID
	owner       driver.Owner
	fence       uint64
	phase       driver.Phase
	onCrash     driver.OnCrash
	kind        driver.Kind
	givenUp     bool
	resolved    bool // ended by an operator, so that the outcome is no owner's
	fingerprint driver.Fingerprint
	labels      driver.Labels
	note        driver.Note
	outcome     string       // a string takes less room than a slice, and nobody can change it
	outcomeNote *driver.Note // nil when it is the same as note

	attempt      int
	maxAttempts  int
	maxExecution time.Duration

	started time.Duration // when the current attempt began
	touched time.Duration // the last sign of life or, when there is no attempt any more, its end
	lease   time.Duration // counted from touched
	keep    time.Duration // how long the record lives, counted from touched
	retain  time.Duration // what keep becomes with an outcome that does not say

	due      time.Duration // when Sweep looks at it, never after it expires
	position int           // in the schedule of its shard
}

func newRecord(id driver.ID, c *driver.Claim, fence uint64, now time.Duration) *record {
	r := &record{
		id:           id,
		owner:        c.Owner,
		fence:        fence,
		phase:        driver.PhaseRunning,
		onCrash:      c.OnCrash,
		fingerprint:  c.Fingerprint,
		labels:       c.Labels,
		attempt:      1,
		maxAttempts:  c.MaxAttempts,
		maxExecution: c.MaxExecution,
		started:      now,
	}
	r.renew(c, now)
	return r
}

func newResidue(id driver.ID, o driver.Owner, fence uint64, now, keep time.Duration) *record {
	return &record{id: id, owner: o, fence: fence, phase: driver.PhaseAbsent, touched: now, keep: keep}
}

// residue is what stays of the record when it is released or resolved away.
func (r *record) residue(now time.Duration) *record {
	return newResidue(r.id, r.owner, r.fence, now, max(driver.MinResidue, after(r.lease, r.lease)))
}

// renew starts the lease anew for the owner.
func (r *record) renew(c *driver.Claim, now time.Duration) {
	r.touched, r.lease, r.keep, r.retain = now, c.Lease, c.DoubtRetain, c.Retain
	r.givenUp = false
	r.note = c.Note
}

// takeOver starts the next attempt. The fingerprint stays the first one: every claim that matched so far still matches,
// also those of replicas that do not know the newer algorithm yet.
func (r *record) takeOver(c *driver.Claim, now time.Duration) {
	r.owner, r.started = c.Owner, now
	r.fence++
	r.attempt++
	r.renew(c, now)
}

func (r *record) extend(e driver.Extension, now time.Duration) {
	r.touched = now
	r.note = e.Note
	r.givenUp = e.Lease <= 0
	if !r.givenUp { // else the old length stays, for the residue
		r.lease = e.Lease
	}
}

func (r *record) complete(out *driver.Outcome, now time.Duration) {
	r.phase, r.touched = driver.PhaseDone, now
	r.kind, r.outcome, r.note, r.outcomeNote = out.Kind, string(out.Bytes), out.Note, nil
	r.keep = r.retain
	if out.Retain > 0 {
		r.keep = out.Retain
	}
}

func (r *record) resolve(res *driver.Resolution, now time.Duration) {
	r.complete(res.Outcome, now)
	r.resolved = true
	if res.Note != r.note {
		own := r.note
		r.note, r.outcomeNote = res.Note, &own
	}
}

// left is the time until the record expires.
func (r *record) left(now time.Duration) time.Duration { return r.keep - (now - r.touched) }

// leaseLeft is what is left of the lease of a running record.
func (r *record) leaseLeft(now time.Duration) time.Duration {
	if r.givenUp {
		return 0
	}
	return r.lease - (now - r.touched)
}

// phaseAt is the phase as callers see it: an expired record is absent.
func (r *record) phaseAt(now time.Duration) driver.Phase {
	if r == nil || r.left(now) <= 0 {
		return driver.PhaseAbsent
	}
	return r.phase
}

// refuses reports whether this is a residue that still names o.
func (r *record) refuses(o driver.Owner, now time.Duration) bool {
	return r != nil && r.phase == driver.PhaseAbsent && r.left(now) > 0 && r.owner == o
}

// lastFence is the fence of an earlier attempt, as long as there is any trace of it.
func (r *record) lastFence() uint64 {
	if r == nil {
		return 0
	}
	return r.fence
}

// view fills in v, the zero Record, as callers see this one; the outcome comes without its bytes. It fills in instead of
// returning because a Record is large, and copying it shows in the time of a replay.
func (r *record) view(v *driver.Record, now time.Duration) {
	v.ID, v.Phase = r.id, r.phaseAt(now)
	if v.Phase == driver.PhaseAbsent {
		return
	}
	v.Labels, v.Fingerprint, v.Note = r.labels, r.fingerprint, r.note
	v.OnCrash, v.Fence = r.onCrash, r.fence
	v.Attempt, v.MaxAttempts, v.MaxExecution = r.attempt, r.maxAttempts, r.maxExecution
	v.Left = r.left(now)
	if v.Phase == driver.PhaseRunning {
		v.Lease, v.GivenUp, v.Age = r.leaseLeft(now), r.givenUp, now-r.started
		return
	}
	v.Age = now - r.touched
	v.Outcome.Kind, v.Outcome.Note = r.kind, r.note
	if r.outcomeNote != nil {
		v.Outcome.Note = *r.outcomeNote
	}
}

// read is view with the outcome's bytes.
func (r *record) read(v *driver.Record, now time.Duration) {
	r.view(v, now)
	if v.Phase == driver.PhaseDone {
		v.Outcome.Bytes = []byte(r.outcome)
	}
}

// recordBytes is about what a record takes in its shard's map and schedule, without what its strings refer to.
const recordBytes = 450

func (r *record) size() int64 {
	if r == nil {
		return 0
	}
	n := recordBytes + len(r.outcome) + len(r.fingerprint.Algorithm) + len(r.fingerprint.Sum) + noteSize(&r.note) +
		len(r.labels.KeyHint) + len(r.labels.Operation) + len(r.labels.Route) + len(r.labels.Host)
	if r.outcomeNote != nil {
		n += noteSize(r.outcomeNote)
	}
	return int64(n)
}

func noteSize(n *driver.Note) int { return len(n.Actor) + len(n.Reason) + len(n.TraceID) + len(n.Node) }

// after is at + d, without wrapping around for those who keep something for ever.
func after(at, d time.Duration) time.Duration {
	if d > math.MaxInt64-at {
		return math.MaxInt64
	}
	return at + d
}
