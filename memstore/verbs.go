package memstore

import (
	"context"
	"errors"
	"time"

	"github.com/onceward/onceward/driver"
)

// Acquire implements [driver.Store].
func (s *Store) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	if err = ended(ctx); err != nil {
		return g, err
	}
	for {
		err = s.acquire(&g, id, &c)
		if !errors.Is(err, driver.ErrFull) || !s.makeRoom(ctx) {
			return g, err
		}
	}
}

// acquire fills in g unless there is an error, which is that the store is full.
func (s *Store) acquire(g *driver.Grant, id driver.ID, c *driver.Claim) error {
	sh, r, now := s.open(id)
	defer sh.mu.Unlock()

	verdict := driver.Acquired
	switch phase := r.phaseAt(now); {
	case r.refuses(c.Owner, now):
		verdict = driver.Lost
	case phase == driver.PhaseAbsent:
		next := newRecord(id, c, r.lastFence()+1, now)
		if err := s.put(sh, r, next); err != nil {
			return err
		}
		r = next
		s.tell(r, driver.StepAcquired, 0, c.Note)
	case !c.Matches(r.fingerprint):
		verdict = driver.Mismatch
	case phase == driver.PhaseDone:
		verdict = driver.Done
	case r.owner == c.Owner:
		before, step := r.size(), s.trail.signOfLife(r.givenUp)
		r.renew(c, now)
		s.settle(sh, r, before)
		s.tell(r, step, 0, c.Note)
	case r.leaseLeft(now) > 0:
		verdict = driver.Running
	case r.onCrash == driver.Rerun && r.attempt < r.maxAttempts:
		before := r.size()
		r.takeOver(c, now)
		s.settle(sh, r, before)
		s.tell(r, driver.StepTakenOver, 0, c.Note)
	default:
		verdict = driver.InDoubt
	}
	g.Verdict = verdict
	r.read(&g.Record, now)
	return nil
}

// Extend implements [driver.Store].
func (s *Store) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	if err := ended(ctx); err != nil {
		return err
	}
	sh, r, now := s.open(id)
	defer sh.mu.Unlock()

	if r.phaseAt(now) != driver.PhaseRunning || r.owner != o {
		return driver.ErrLost
	}
	before, step := r.size(), s.trail.signOfLife(r.givenUp)
	if e.Lease <= 0 {
		step = r.giveUp(e.Note)
	}
	r.extend(e, now)
	s.settle(sh, r, before)
	s.tell(r, step, 0, e.Note)
	return nil
}

// Complete implements [driver.Store]. A full store takes the outcome.
func (s *Store) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	if err := ended(ctx); err != nil {
		return err
	}
	sh, r, now := s.open(id)
	defer sh.mu.Unlock()

	phase := r.phaseAt(now)
	if phase == driver.PhaseAbsent || r.owner != o || r.resolved {
		return driver.ErrLost
	}
	if phase == driver.PhaseDone {
		if r.kind == out.Kind && r.outcome == string(out.Bytes) {
			return nil
		}
		return driver.ErrLost
	}
	before := r.size()
	r.complete(&out, now)
	s.settle(sh, r, before)
	s.tell(r, driver.StepCompleted, out.Kind, out.Note)
	return nil
}

// Release implements [driver.Store]. The residue of an unknown key counts like a record, so that a full store refuses
// it; the residue of a known one takes the place of its record.
func (s *Store) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	if err := ended(ctx); err != nil {
		return err
	}
	for {
		err := s.release(id, o, n)
		if !errors.Is(err, driver.ErrFull) || !s.makeRoom(ctx) {
			return err
		}
	}
}

func (s *Store) release(id driver.ID, o driver.Owner, n driver.Note) error {
	sh, r, now := s.open(id)
	defer sh.mu.Unlock()

	switch phase := r.phaseAt(now); {
	case phase == driver.PhaseRunning && r.owner == o:
		return s.free(sh, r, driver.StepReleased, n, now)
	case phase != driver.PhaseAbsent:
		return driver.ErrLost
	case r == nil:
		return s.put(sh, nil, newResidue(id, o, 0, now, driver.MinResidue))
	default: // the fence that is remembered here must not be forgotten sooner
		return s.put(sh, r, newResidue(id, o, r.fence, now, max(driver.MinResidue, r.left(now))))
	}
}

// free leaves the residue of r. A residue is smaller than its record, so there is room for it.
func (s *Store) free(sh *shard, r *record, step driver.Step, n driver.Note, now time.Duration) error {
	if err := s.put(sh, r, r.residue(now)); err != nil {
		return err
	}
	s.tell(r, step, 0, n)
	return nil
}

// Resolve implements [driver.Store]. A full store takes the outcome.
func (s *Store) Resolve(ctx context.Context, id driver.ID, res driver.Resolution) error {
	if err := ended(ctx); err != nil {
		return err
	}
	sh, r, now := s.open(id)
	defer sh.mu.Unlock()

	if r.phaseAt(now) == driver.PhaseAbsent || r.fence != res.Fence {
		return driver.ErrLost
	}
	var seen driver.Record
	if r.view(&seen, now); !seen.InDoubt() && !res.Force {
		return driver.ErrLost
	}
	before, step := r.size(), driver.StepResolved
	if res.Force {
		r.fence++
		step = driver.StepForced
	}
	if res.Outcome == nil {
		return s.free(sh, r, step, res.Note, now)
	}
	r.resolve(&res, now)
	s.settle(sh, r, before)
	s.tell(r, step, res.Outcome.Kind, res.Note)
	return nil
}

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, id driver.ID) (rec driver.Record, err error) {
	if err = ended(ctx); err != nil {
		return rec, err
	}
	sh, r, now := s.open(id)
	defer sh.mu.Unlock()

	rec.ID = id
	if r != nil {
		r.read(&rec, now)
	}
	return rec, nil
}
