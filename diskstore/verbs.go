package diskstore

import (
	"bytes"
	"context"

	"github.com/onceward/onceward/driver"
)

// A judge looks at the entry of a key and returns the one that is to take its place, nil when nothing changes. It may
// change the entry that it is given, which is a copy, and return it.
type judge func(e *entry, now int64) (next *entry, err error)

// Acquire implements [driver.Store]. Below the free-space floor new keys are refused with [driver.ErrFull].
func (s *Store) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	err = s.change(ctx, id, func(e *entry, now int64) (next *entry, err error) {
		g.Verdict, next, err = s.acquire(e, id, &c, now)
		switch {
		case next != nil:
			g.Record = next.read(id, now)
		case err == nil:
			g.Record = e.read(id, now)
		}
		return next, err
	})
	if err != nil {
		return driver.Grant{}, err
	}
	return g, nil
}

func (s *Store) acquire(e *entry, id driver.ID, c *driver.Claim, now int64) (driver.Verdict, *entry, error) {
	switch phase := e.phaseAt(now); {
	case e.refuses(c.Owner, now):
		return driver.Lost, nil, nil
	case phase == driver.PhaseAbsent:
		if err := s.disk.roomForNew(); err != nil {
			return 0, nil, err
		}
		return driver.Acquired, newEntry(id, c, e.lastFence()+1, now), nil
	case !c.Matches(e.Fingerprint):
		return driver.Mismatch, nil, nil
	case phase == driver.PhaseDone:
		return driver.Done, nil, nil
	case e.Owner == c.Owner:
		e.renew(c, now)
		return driver.Acquired, e, nil
	case e.LeaseEnd > now:
		return driver.Running, nil, nil
	case e.rerunnable():
		e.takeOver(c, now)
		return driver.Acquired, e, nil
	default:
		return driver.InDoubt, nil, nil
	}
}

// Extend implements [driver.Store].
func (s *Store) Extend(ctx context.Context, id driver.ID, o driver.Owner, x driver.Extension) error {
	return s.change(ctx, id, func(e *entry, now int64) (*entry, error) {
		if e.phaseAt(now) != driver.PhaseRunning || e.Owner != o {
			return nil, driver.ErrLost
		}
		e.extend(&x, now)
		return e, nil
	})
}

// Complete implements [driver.Store]. The free-space floor does not refuse it.
func (s *Store) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return s.change(ctx, id, func(e *entry, now int64) (*entry, error) {
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
		return e, nil
	})
}

// Release implements [driver.Store]. The free-space floor does not refuse it, because a residue is small and whoever
// sends a Release has made a call before.
func (s *Store) Release(ctx context.Context, id driver.ID, o driver.Owner, _ driver.Note) error {
	return s.change(ctx, id, func(e *entry, now int64) (*entry, error) {
		switch phase := e.phaseAt(now); {
		case phase == driver.PhaseRunning && e.Owner == o:
			return e.residue(id, now), nil
		case phase != driver.PhaseAbsent:
			return nil, driver.ErrLost
		case e == nil:
			return newResidue(id, o, 0, now, driver.MinResidue), nil
		default: // the fence that is remembered here must not be forgotten sooner
			next := newResidue(id, o, e.Fence, now, driver.MinResidue)
			next.Gone = max(next.Gone, e.Gone)
			return next, nil
		}
	})
}

// Resolve implements [driver.Store]. The free-space floor does not refuse it.
func (s *Store) Resolve(ctx context.Context, id driver.ID, res driver.Resolution) error {
	return s.change(ctx, id, func(e *entry, now int64) (*entry, error) {
		if e.phaseAt(now) == driver.PhaseAbsent || e.Fence != res.Fence {
			return nil, driver.ErrLost
		}
		if seen := e.view(id, now); !seen.InDoubt() && !res.Force {
			return nil, driver.ErrLost
		}
		if res.Force {
			e.Fence++
		}
		if res.Outcome == nil {
			return e.residue(id, now), nil
		}
		e.resolve(&res, now)
		return e, nil
	})
}

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, id driver.ID) (rec driver.Record, err error) {
	err = s.change(ctx, id, func(e *entry, now int64) (*entry, error) {
		rec = e.read(id, now)
		return nil, nil //nolint:nilnil // nothing changes
	})
	return rec, err
}
