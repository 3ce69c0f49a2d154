package storetest

import (
	"bytes"
	"context"
	"time"

	"github.com/onceward/onceward/driver"
)

// Acquire implements driver.Store.
func (s *reference) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	err = s.call(ctx, func(now time.Time) error {
		e := s.live(id, now)
		g.Verdict = s.judge(e, c, now)
		s.gap(CheckThenAct)
		switch {
		case g.Verdict == driver.Acquired:
			if e == nil && s.full(now) && !s.evict() {
				return driver.ErrFull
			}
			before := e
			e = s.granted(id, e, c, now)
			s.put(e)
			s.tell(e, before, s.stepOf(before, e), 0, c.Note)
		case g.Verdict == driver.Running && s.flaw == LoserRenewsLease:
			e.leaseEnd = now.Add(c.Lease)
			s.put(e)
		case s.flaw == TrailTellsOfLosers && e.Phase != driver.PhaseAbsent:
			s.tell(e, e, driver.StepAcquired, 0, c.Note)
		}
		g.Record = s.read(e, now)
		return nil
	})
	if err != nil {
		return driver.Grant{}, err
	}
	return g, nil
}

// gap lets everybody else come in between, for flaws that do.
func (s *reference) gap(f flaw) {
	if s.flaw == f {
		s.mu.Unlock()
		time.Sleep(time.Microsecond)
		s.mu.Lock()
	}
}

func (s *reference) evict() bool {
	if s.flaw != EvictsLive {
		return false
	}
	for id := range s.entries {
		delete(s.entries, id)
		return true
	}
	return false
}

func (s *reference) judge(e *entry, c driver.Claim, now time.Time) driver.Verdict {
	mine := e != nil && e.owner == c.Owner
	switch {
	case e == nil:
		return driver.Acquired
	case e.Phase == driver.PhaseAbsent && mine && s.flaw != LateAcquire:
		return driver.Lost
	case e.Phase == driver.PhaseAbsent:
		return driver.Acquired
	case !s.matches(e, c):
		return driver.Mismatch
	case e.Phase == driver.PhaseDone && (mine && s.flaw == DoneIsMine || len(e.Outcome.Bytes) == 0 && s.flaw == FalsyResult):
		return driver.Acquired
	case e.Phase == driver.PhaseDone:
		return driver.Done
	case mine && s.flaw != SelfConflict:
		return driver.Acquired
	case now.Before(e.leaseEnd):
		return driver.Running
	case s.rerunnable(e):
		return driver.Acquired
	default:
		return driver.InDoubt
	}
}

func (s *reference) rerunnable(e *entry) bool {
	return e.Rerunnable() || s.flaw == TakeOverUnderHold && e.OnCrash == driver.Hold ||
		s.flaw == TakeOverBeyondAttempts && e.OnCrash == driver.Rerun
}

func (s *reference) granted(id driver.ID, e *entry, c driver.Claim, now time.Time) *entry {
	next := &entry{
		Record: driver.Record{ID: id, Phase: driver.PhaseRunning, Labels: c.Labels, Fingerprint: c.Fingerprint,
			OnCrash: c.OnCrash, Fence: 1, Attempt: 1, MaxAttempts: c.MaxAttempts, MaxExecution: c.MaxExecution, Note: c.Note},
		owner: c.Owner, began: now, lease: c.Lease, retain: c.Retain, doubtRetain: c.DoubtRetain,
	}
	next.Fingerprint.Sum = s.text(next.Fingerprint.Sum)
	if e != nil {
		next.Fence = e.Fence + 1
	}
	if e != nil && e.Phase != driver.PhaseAbsent {
		next.Attempt = e.Attempt + 1
		if s.flaw != PolicyOfTheLast {
			next.OnCrash, next.MaxAttempts, next.MaxExecution = e.OnCrash, e.MaxAttempts, e.MaxExecution
		}
		if e.owner == c.Owner && e.Phase == driver.PhaseRunning {
			next.Fence, next.Attempt, next.began = e.Fence, e.Attempt, e.began
		}
	}
	s.alive(next, c.Lease, now)
	return next
}

// alive starts the lease and the doubt retention anew.
func (s *reference) alive(e *entry, lease time.Duration, now time.Time) {
	if s.flaw == EarlyExpiry {
		lease -= lease / 10
	}
	if s.flaw != LazyGiveUp || lease > 0 {
		e.leaseEnd = now.Add(s.narrow(lease))
	}
	if s.flaw != DoubtFromAcquire || e.expires.IsZero() {
		e.expires = now.Add(s.narrow(e.doubtRetain))
	}
	if s.flaw == OneClock {
		e.expires = e.leaseEnd
	}
}

// narrow is a duration as it comes back from a column that cannot hold it.
func (s *reference) narrow(d time.Duration) time.Duration {
	switch s.flaw {
	case Int32Millis:
		return time.Duration(int32(d.Milliseconds())) * time.Millisecond
	case UInt32Millis:
		return time.Duration(uint32(d.Milliseconds())) * time.Millisecond
	default:
		return d
	}
}

// mine returns the running entry of an owner, or nil.
func (s *reference) mine(id driver.ID, o driver.Owner, now time.Time, unowned flaw) *entry {
	e := s.live(id, now)
	if e == nil || e.Phase != driver.PhaseRunning || e.owner != o && s.flaw != unowned {
		return nil
	}
	return e
}

// Extend implements driver.Store.
func (s *reference) Extend(ctx context.Context, id driver.ID, o driver.Owner, x driver.Extension) error {
	return s.call(ctx, func(now time.Time) error {
		e := s.mine(id, o, now, UnownedExtend)
		if e == nil || s.flaw == GivenUpForGood && e.GivenUp {
			return driver.ErrLost
		}
		before := *e
		e.GivenUp, e.Note = x.Lease == 0, x.Note
		s.alive(e, x.Lease, now)
		s.gap(ExtendLooksFirst)
		s.put(e)
		s.tell(e, &before, s.stepOf(&before, e), 0, x.Note)
		return nil
	})
}

// Complete implements driver.Store.
func (s *reference) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return s.call(ctx, func(now time.Time) error {
		if s.flaw == CompleteRefusedWhenFull && s.full(now) {
			return driver.ErrFull
		}
		e := s.live(id, now)
		if e != nil && e.Phase == driver.PhaseDone && e.owner == o && s.flaw != OverwritesOutcome {
			same := e.Outcome.Kind == out.Kind && bytes.Equal(e.Outcome.Bytes, out.Bytes)
			if same && s.flaw != CompleteOnce {
				if s.flaw == TrailDoublesOnRepeat {
					s.tell(e, e, driver.StepCompleted, out.Kind, out.Note)
				}
				return nil
			}
			return driver.ErrLost
		}
		if s.flaw != OverwritesOutcome || e == nil || e.owner != o {
			e = s.mine(id, o, now, UnownedComplete)
		}
		if e == nil || s.flaw == CompleteInTimeOnly && !now.Before(e.leaseEnd) {
			return driver.ErrLost
		}
		before := *e
		s.finish(e, out, now)
		e.Note = out.Note
		switch interrupted := ctx.Err() != nil; {
		case interrupted && s.flaw == HalfStep:
			e.Outcome = driver.Outcome{}
		case interrupted && s.flaw == KeepsSliceAfterCancel:
			e.Outcome.Bytes = out.Bytes
		}
		s.put(e)
		s.tell(e, &before, driver.StepCompleted, out.Kind, out.Note)
		return ctx.Err()
	})
}

func (s *reference) finish(e *entry, out driver.Outcome, now time.Time) {
	if out.Retain == 0 || s.flaw == RetainOfTheClaim {
		out.Retain = e.retain
	}
	e.expires = now.Add(s.narrow(out.Retain))
	out.Retain = 0
	if s.flaw != SharesSlicesIn {
		out.Bytes = bytes.Clone(out.Bytes)
	}
	if s.flaw == Truncates1M {
		out.Bytes = out.Bytes[:min(len(out.Bytes), 1<<20)]
	}
	if s.flaw == TextBytes {
		out.Bytes = []byte(s.text(string(out.Bytes)))
	}
	e.Phase, e.Outcome, e.began = driver.PhaseDone, out, now
}

// Release implements driver.Store.
func (s *reference) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	if s.flaw == LeaksGoroutine {
		go func() { <-s.quit }()
	}
	return s.call(ctx, func(now time.Time) error {
		e := s.live(id, now)
		switch {
		case e == nil:
			e = &entry{Record: driver.Record{ID: id}, owner: o}
		case e.Phase == driver.PhaseAbsent:
			e.owner = o
		default:
			if e = s.mine(id, o, now, UnownedRelease); e == nil {
				return driver.ErrLost
			}
		}
		s.gap(ReleaseLooksFirst)
		s.put(s.residue(e, now))
		if s.flaw != TrailForgetsRelease && (e.Phase == driver.PhaseRunning || s.flaw == TrailTellsOfNothing) {
			s.tell(e, e, driver.StepReleased, 0, n)
			s.forgetTrail(id)
		}
		return nil
	})
}

// residue is what is left of an entry that is made absent.
func (s *reference) residue(e *entry, now time.Time) *entry {
	keep := max(driver.MinResidue, 2*e.lease)
	if s.flaw == BriefResidue {
		keep = e.lease
	}
	left := &entry{Record: driver.Record{ID: e.ID, Fence: e.Fence}, owner: e.owner, lease: e.lease, expires: now.Add(keep)}
	if s.flaw == FenceReset {
		left.Fence = 0
	}
	if before := s.live(e.ID, now); before != nil && before.Phase == driver.PhaseAbsent && before.expires.After(left.expires) {
		left.expires = before.expires
	}
	return left
}

// Resolve implements driver.Store.
func (s *reference) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	return s.call(ctx, func(now time.Time) error {
		e := s.live(id, now)
		if e == nil || e.Phase == driver.PhaseAbsent || e.Fence != r.Fence && s.flaw != ResolvesAnyFence {
			return driver.ErrLost
		}
		if seen := s.read(e, now); !r.Force && !seen.InDoubt() {
			return driver.ErrLost
		}
		s.gap(ResolveLooksFirst)
		before, step := *e, driver.StepResolved
		if r.Force && s.flaw != TrailHidesForce {
			step = driver.StepForced
		}
		if r.Force && s.flaw != FenceNotRaisedByForce {
			e.Fence++
		}
		if r.Outcome == nil {
			e.owner = s.unless(ResolvedOwnerReturns, e.owner)
			s.put(s.residue(e, now))
			s.tell(e, &before, step, 0, r.Note)
			return nil
		}
		s.finish(e, *r.Outcome, now)
		e.Note = r.Note
		if s.flaw != ResolvedIsMine {
			e.owner = driver.Owner{}
		}
		s.put(e)
		s.tell(e, &before, step, r.Outcome.Kind, r.Note)
		return nil
	})
}
