package diskstore

import (
	"bytes"
	"context"

	"github.com/onceward/onceward/driver"
)

// A judge looks at the entry of a key and returns the transition that is to be made, nil when nothing changes. It may
// change the entry that it is given, which is a copy, and return it.
type judge func(e *entry, now int64) (*transition, error)

// A transition is the entry that takes the place of another, and what the audit trail keeps of it, nil for nothing.
type transition struct {
	next *entry
	told *driver.Entry
}

// becomes is a step by which an attempt is e from now on.
func (s *Store) becomes(e *entry, step driver.Step) *transition {
	told := s.trail.told(e, step, e.Note)
	if told != nil {
		told.Kind = e.Kind
	}
	return &transition{e, told}
}

// free is a step by which nothing but a residue stays of e.
func (s *Store) free(e *entry, id driver.ID, step driver.Step, n driver.Note, now int64) *transition {
	return &transition{e.residue(id, now), s.trail.told(e, step, n)}
}

// Acquire implements [driver.Store]. Below the free-space floor new keys are refused with [driver.ErrFull].
func (s *Store) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	err = s.change(ctx, id, func(e *entry, now int64) (made *transition, err error) {
		g.Verdict, made, err = s.acquire(e, id, &c, now)
		switch {
		case made != nil:
			g.Record = made.next.read(id, now)
		case err == nil:
			g.Record = e.read(id, now)
		}
		return made, err
	})
	if err != nil {
		return driver.Grant{}, err
	}
	return g, nil
}

func (s *Store) acquire(e *entry, id driver.ID, c *driver.Claim, now int64) (driver.Verdict, *transition, error) {
	switch phase := e.phaseAt(now); {
	case e.refuses(c.Owner, now):
		return driver.Lost, nil, nil
	case phase == driver.PhaseAbsent:
		if err := s.disk.roomForNew(); err != nil {
			return 0, nil, err
		}
		return driver.Acquired, s.becomes(newEntry(id, c, e.lastFence()+1, now), driver.StepAcquired), nil
	case !c.Matches(e.Fingerprint):
		return driver.Mismatch, nil, nil
	case phase == driver.PhaseDone:
		return driver.Done, nil, nil
	case e.Owner == c.Owner:
		step := s.trail.signOfLife(e.GivenUp)
		e.renew(c, now)
		return driver.Acquired, s.becomes(e, step), nil
	case e.LeaseEnd > now:
		return driver.Running, nil, nil
	case e.rerunnable():
		e.takeOver(c, now)
		return driver.Acquired, s.becomes(e, driver.StepTakenOver), nil
	default:
		return driver.InDoubt, nil, nil
	}
}

// Extend implements [driver.Store].
func (s *Store) Extend(ctx context.Context, id driver.ID, o driver.Owner, x driver.Extension) error {
	return s.change(ctx, id, func(e *entry, now int64) (*transition, error) {
		if e.phaseAt(now) != driver.PhaseRunning || e.Owner != o {
			return nil, driver.ErrLost
		}
		step := s.trail.signOfLife(e.GivenUp)
		if x.Lease <= 0 {
			step = e.giveUp(x.Note)
		}
		e.extend(&x, now)
		return s.becomes(e, step), nil
	})
}

// Complete implements [driver.Store]. The free-space floor does not refuse it.
func (s *Store) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return s.change(ctx, id, func(e *entry, now int64) (*transition, error) {
		phase := e.phaseAt(now)
		if phase == driver.PhaseAbsent || e.Owner != o || e.Resolved {
			return nil, driver.ErrLost
		}
		if phase == driver.PhaseDone {
			if e.Kind == out.Kind && bytes.Equal(e.Outcome, out.Bytes) {
				return nil, nil
			}
			return nil, driver.ErrLost
		}
		e.complete(&out, now)
		return s.becomes(e, driver.StepCompleted), nil
	})
}

// Release implements [driver.Store]. The free-space floor does not refuse it, because a residue is small and whoever
// sends a Release has made a call before.
func (s *Store) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return s.change(ctx, id, func(e *entry, now int64) (*transition, error) {
		switch phase := e.phaseAt(now); {
		case phase == driver.PhaseRunning && e.Owner == o:
			return s.free(e, id, driver.StepReleased, n, now), nil
		case phase != driver.PhaseAbsent:
			return nil, driver.ErrLost
		case e == nil:
			return &transition{next: newResidue(id, o, 0, now, driver.MinResidue)}, nil
		default: // the fence that is remembered here must not be forgotten sooner
			next := newResidue(id, o, e.Fence, now, driver.MinResidue)
			next.Gone = max(next.Gone, e.Gone)
			return &transition{next: next}, nil
		}
	})
}

// Resolve implements [driver.Store]. The free-space floor does not refuse it.
func (s *Store) Resolve(ctx context.Context, id driver.ID, res driver.Resolution) error {
	return s.change(ctx, id, func(e *entry, now int64) (*transition, error) {
		if e.phaseAt(now) == driver.PhaseAbsent || e.Fence != res.Fence {
			return nil, driver.ErrLost
		}
		if seen := e.view(id, now); !seen.InDoubt() && !res.Force {
			return nil, driver.ErrLost
		}
		step := driver.StepResolved
		if res.Force {
			e.Fence++
			step = driver.StepForced
		}
		if res.Outcome == nil {
			return s.free(e, id, step, res.Note, now), nil
		}
		e.resolve(&res, now)
		return s.becomes(e, step), nil
	})
}

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, id driver.ID) (rec driver.Record, err error) {
	err = s.change(ctx, id, func(e *entry, now int64) (*transition, error) {
		rec = e.read(id, now)
		return nil, nil //nolint:nilnil // nothing changes
	})
	return rec, err
}
