package spec

import (
	"time"

	"github.com/onceward/onceward/driver"
)

// span is a moment of which only the bounds are known.
type span struct{ lo, hi time.Duration }

// timer runs for a length since a moment.
type timer struct {
	since  span
	length time.Duration
}

// mayBeOver reports whether the timer can have run out at a moment in now, give or take the skew.
func (t timer) mayBeOver(now span, skew time.Duration) bool {
	return now.hi+skew >= t.since.lo+t.length
}

// mayRun reports whether it can still run then.
func (t timer) mayRun(now span, skew time.Duration) bool {
	return now.lo < t.since.hi+t.length+skew
}

// before says that the timer was started before a moment in now.
func (t timer) before(now span) timer {
	t.since.hi = min(t.since.hi, now.hi)
	return t
}

// running says that the timer had not run out at a moment in now.
func (t timer) running(now span, skew time.Duration) timer {
	t.since.lo = max(t.since.lo, now.lo-t.length-skew)
	return t
}

// leaves reports whether so much of the timer can be left at a moment in now.
func (t timer) leaves(left time.Duration, now span, skew time.Duration) bool {
	return left >= t.since.lo+t.length-now.hi-skew && left <= t.since.hi+t.length-now.lo+skew
}

// state is what a record may be. It is comparable, so that states that are the same are found to be.
type state struct {
	phase       driver.Phase
	owner       int // who holds it or completed it; 0 once somebody who is no owner resolved it
	request     int
	outcome     int
	onCrash     driver.OnCrash
	attempt     int
	maxAttempts int
	fence       uint64
	higher      bool // nobody has seen the fence: it may be higher

	began       span // the attempt or, when it is done, its end
	lease       timer
	over        bool // the lease is
	givenUp     bool
	keep        timer         // how long the record lives
	retain      time.Duration // what keep will be for an outcome that does not say
	doubtRetain time.Duration
	shortest    time.Duration // lease of this attempt, by which the residue is measured

	// The residue: the owner who is refused, and the fence that the next one exceeds, each for a time. A store may remember
	// more owners, and for longer.
	refused    int
	refusedFor timer
	floor      uint64
	floorFor   timer
	mayRefuse  uint64 // a bit for each owner
}

// bit is the owner's place in mayRefuse.
func bit(owner int) uint64 { return 1 << owner }

func (s *state) rerunnable() bool { return s.onCrash == driver.Rerun && s.attempt < s.maxAttempts }

// owned reports whether the owner's attempt is running, lease or not.
func (s *state) owned(owner int) bool { return s.phase == driver.PhaseRunning && s.owner == owner }

// elapse is what the record may be at a moment in now: there or expired, with a lease that runs or is over. What is chosen
// here tells about the instants before, so that a lease which was over does not run again later.
func (r Rules) elapse(s state, now span) []state {
	s.lease, s.keep = s.lease.before(now), s.keep.before(now)
	s.refusedFor, s.floorFor = s.refusedFor.before(now), s.floorFor.before(now)
	if s.phase == driver.PhaseAbsent {
		if !s.refusedFor.mayRun(now, r.Skew) {
			s.refused, s.refusedFor = 0, timer{}
		}
		if !s.floorFor.mayRun(now, r.Skew) {
			s.floor, s.floorFor = 0, timer{}
		}
		return []state{s}
	}
	may := make([]state, 0, 3)
	if s.keep.mayBeOver(now, r.Skew) {
		may = append(may, state{mayRefuse: s.mayRefuse})
	}
	if !s.keep.mayRun(now, r.Skew) {
		return may
	}
	s.keep = s.keep.running(now, r.Skew)
	if s.phase == driver.PhaseDone || s.over {
		return append(may, s)
	}
	if s.lease.mayRun(now, r.Skew) {
		runs := s
		runs.lease = s.lease.running(now, r.Skew)
		may = append(may, runs)
	}
	if s.lease.mayBeOver(now, r.Skew) {
		s.over, s.lease = true, timer{}
		may = append(may, s)
	}
	return may
}

// renew starts the lease anew.
func (s *state) renew(lease time.Duration, now span) {
	s.lease, s.over, s.givenUp = timer{now, lease}, lease == 0, lease == 0
	s.keep = timer{now, s.doubtRetain}
	if lease == 0 {
		s.lease = timer{}
		return
	}
	s.shortest = min(s.shortest, lease)
}

// begin starts an attempt, whose fence is at least so high.
func (s *state) begin(o *Op, fence uint64, now span) {
	s.owner, s.fence, s.higher, s.attempt, s.began = o.Owner, fence, true, s.attempt+1, now
	s.retain, s.doubtRetain, s.shortest = o.Retain, o.DoubtRetain, o.Lease
	s.renew(o.Lease, now)
}

// end keeps an outcome.
func (s *state) end(o *Op, now span) {
	retain := s.retain
	if o.Retain > 0 {
		retain = o.Retain
	}
	s.phase, s.outcome, s.began, s.keep = driver.PhaseDone, o.Outcome, now, timer{now, retain}
	s.lease, s.over, s.givenUp = timer{}, false, false
}

// free makes the key absent and leaves the residue.
func (s *state) free(now span) state {
	residue := timer{now, max(driver.MinResidue, 2*s.shortest)}
	gone := state{mayRefuse: s.mayRefuse, floor: s.fence, floorFor: residue}
	if s.owner != 0 {
		gone.refused, gone.refusedFor = s.owner, residue
		gone.mayRefuse |= bit(s.owner)
	}
	return gone
}

// matches says whether the record that a client saw can be this one, and what its fence tells.
func (r Rules) matches(s state, told Verb, seen *Seen, now span) (state, bool) {
	if s.phase != seen.Phase || s.phase == driver.PhaseAbsent {
		return s, s.phase == seen.Phase
	}
	if seen.Fence < s.fence || seen.Fence > s.fence && !s.higher {
		return s, false
	}
	s.fence, s.higher = seen.Fence, false
	if told == Acquire && s.phase == driver.PhaseDone {
		now.hi += r.Stale
	}
	same := s.request == seen.Request && s.onCrash == seen.OnCrash && s.attempt == seen.Attempt &&
		s.maxAttempts == seen.Max && s.keep.leaves(seen.Left, now, r.Skew) &&
		seen.Age >= now.lo-s.began.hi-r.Skew && seen.Age <= now.hi-s.began.lo+r.Skew
	switch {
	case s.phase == driver.PhaseDone:
		return s, same && s.outcome == seen.Outcome && seen.Lease <= 0
	case s.givenUp != seen.GivenUp:
		return s, false
	case s.over:
		return s, same && seen.Lease <= 0
	default:
		return s, same && seen.Lease > 0 && s.lease.leaves(seen.Lease, now, r.Skew)
	}
}
