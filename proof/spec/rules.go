package spec

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceward/onceward/driver"
)

// Rules are the sequential specification of a record. The zero value is that of a store whose clock is the clients' own.
type Rules struct {
	// Skew is how far the store's moments may be off: by the grain of its clock, and by what reading it takes. It is allowed
	// on both sides of every end of a lease, a retention and a residue.
	Skew time.Duration
	// Stale is how much too old a done record may look to an Acquire, because its store tells the time from an earlier answer,
	// and counts that from when it was asked for.
	Stale time.Duration
}

// Model is what porcupine searches with. Inputs are *[Op], outputs are *[Answer].
func (r Rules) Model() porcupine.NondeterministicModel {
	return porcupine.NondeterministicModel{
		Partition: byKey,
		Init:      func() []any { return []any{state{}} },
		Step: func(s, in, out any) []any {
			var next []any
			for _, after := range r.step(s.(state), in.(*Op), out.(*Answer)) { //nolint:forcetypeassert // ours
				next = append(next, after)
			}
			return next
		},
	}
}

func byKey(history []porcupine.Operation) [][]porcupine.Operation {
	var parts [][]porcupine.Operation
	for _, o := range history {
		key := o.Input.(*Op).Key //nolint:forcetypeassert // ours
		for len(parts) <= key {
			parts = append(parts, nil)
		}
		parts[key] = append(parts[key], o)
	}
	return slices.DeleteFunc(parts, func(p []porcupine.Operation) bool { return len(p) == 0 })
}

// step is what the record may be after the call, nothing if a store may not answer so.
func (r Rules) step(s state, o *Op, a *Answer) []state {
	if a.Said == Unavailable {
		return []state{s}
	}
	now := span{o.Sent, o.Heard}
	var may []state
	if a.Said == Unknown {
		may = append(may, s)
	}
	for _, s := range r.elapse(s, now) {
		for _, b := range r.branches(s, o, now) {
			switch {
			case a.Said == Unknown && b.changed(o):
				may = append(may, b.state)
			case a.Said != b.said || a.Verdict != b.verdict:
			case a.Said == Granted && (o.Verb == Acquire || o.Verb == Get):
				if seen, ok := r.matches(b.state, o.Verb, &a.Record, now); ok {
					may = append(may, seen)
				}
			default:
				may = append(may, b.state)
			}
		}
	}
	return may
}

// branch is one way in which a call may go, and the record after it.
type branch struct {
	state

	said    Said
	verdict driver.Verdict
}

// changed reports whether it was a call that got what it wanted and may have left something.
func (b branch) changed(o *Op) bool {
	return b.said == Granted && (b.verdict == driver.Acquired || o.Verb != Acquire && o.Verb != Get)
}

// branches are the ways in which a call may go at a moment in now. There is mostly one: time was decided before.
func (r Rules) branches(s state, o *Op, now span) []branch {
	switch o.Verb {
	case Acquire:
		return r.acquire(s, o, now)
	case Extend:
		if !s.owned(o.Owner) {
			return lost(s)
		}
		s.renew(o.Lease, now)
	case Complete:
		switch {
		case s.owned(o.Owner):
			s.end(o, now)
		case s.phase != driver.PhaseDone || s.owner != o.Owner || s.outcome != o.Outcome:
			return lost(s)
		}
	case Release:
		return release(s, o, now)
	case Resolve:
		return resolve(s, o, now)
	default:
	}
	return ok(s)
}

func ok(s state) []branch   { return []branch{{state: s}} }
func lost(s state) []branch { return []branch{{state: s, said: Lost}} }

func judged(s state, v driver.Verdict) []branch { return []branch{{state: s, verdict: v}} }

func (r Rules) acquire(s state, o *Op, now span) []branch {
	switch {
	case s.phase == driver.PhaseAbsent:
		return r.acquireAbsent(s, o, now)
	case s.request != o.Request:
		return judged(s, driver.Mismatch)
	case s.phase == driver.PhaseDone:
		return judged(s, driver.Done)
	case s.owner == o.Owner:
		s.retain, s.doubtRetain = o.Retain, o.DoubtRetain
		s.renew(o.Lease, now)
		return judged(s, driver.Acquired)
	case !s.over:
		return judged(s, driver.Running)
	case s.rerunnable():
		s.begin(o, s.fence+1, now)
		return judged(s, driver.Acquired)
	default:
		return judged(s, driver.InDoubt)
	}
}

func (r Rules) acquireAbsent(s state, o *Op, now span) (may []branch) {
	if s.mayRefuse&bit(o.Owner) != 0 {
		may = judged(s, driver.Lost)
	}
	if s.refused == o.Owner && !s.refusedFor.mayBeOver(now, r.Skew) {
		return may
	}
	floor := s.floor
	if s.floorFor.mayBeOver(now, r.Skew) {
		floor = 0
	}
	next := state{
		phase: driver.PhaseRunning, request: o.Request, onCrash: o.OnCrash, maxAttempts: o.MaxAttempts, mayRefuse: s.mayRefuse,
	}
	next.begin(o, floor+1, now)
	return append(may, branch{state: next, verdict: driver.Acquired})
}

func release(s state, o *Op, now span) []branch {
	switch {
	case s.owned(o.Owner):
		return ok(s.free(now))
	case s.phase != driver.PhaseAbsent:
		return lost(s)
	case s.refused == o.Owner: // it is refused already, and for no shorter
		return ok(s)
	default:
		s.refused, s.refusedFor = o.Owner, timer{now, driver.MinResidue}
		s.mayRefuse |= bit(o.Owner)
		return ok(s)
	}
}

func resolve(s state, o *Op, now span) []branch {
	inDoubt := s.phase == driver.PhaseRunning && s.over && !s.rerunnable()
	if s.phase == driver.PhaseAbsent || !inDoubt && !o.Force || o.Fence < s.fence || o.Fence > s.fence && !s.higher {
		return lost(s)
	}
	var may []branch
	if s.higher { // it may as well be another one
		may = lost(s)
	}
	s.fence, s.higher = o.Fence, false
	if o.Force {
		s.fence, s.higher = o.Fence+1, true
	}
	if o.Outcome == 0 {
		return append(may, branch{state: s.free(now)})
	}
	s.mayRefuse |= bit(s.owner)
	s.end(o, now)
	s.owner = 0
	return append(may, branch{state: s})
}

// Check judges a history. One that cannot be decided within the patience is porcupine.Unknown.
func (r Rules) Check(history []porcupine.Operation, patience time.Duration) porcupine.CheckResult {
	model := r.Model()
	return porcupine.CheckOperationsTimeout(model.ToModel(), history, patience)
}

// Explain writes an illegal history as a table, one line for each call of the keys that went wrong, in the order in which
// they were sent. The calls that fit into no order with those above them are marked; the first one is where to look.
func (r Rules) Explain(w io.Writer, history []porcupine.Operation) error {
	model := r.Model()
	for _, part := range byKey(history) {
		result, info := porcupine.CheckOperationsVerbose(model.ToModel(), part, time.Minute)
		if result == porcupine.Ok {
			continue
		}
		var longest []porcupine.Operation
		for _, order := range info.PartialLinearizationsOperations()[0] {
			if len(order) > len(longest) {
				longest = order
			}
		}
		if err := table(w, part, longest); err != nil {
			return err
		}
	}
	return nil
}

func table(w io.Writer, part, explained []porcupine.Operation) error {
	fits := make(map[any]int)
	for i, o := range explained {
		fits[o.Input] = i + 1
	}
	slices.SortFunc(part, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var text strings.Builder
	fmt.Fprintf(&text, "key %d: a longest order that explains what was answered has %d of %d calls\n",
		part[0].Input.(*Op).Key, len(explained), len(part)) //nolint:forcetypeassert // ours
	fmt.Fprintf(&text, "%6s %6s %13s %13s %7s  %s\n", "order", "client", "sent", "heard", "events", "call = answer")
	for _, o := range part {
		op, a := o.Input.(*Op), o.Output.(*Answer) //nolint:forcetypeassert // ours
		place, heard, until := strconv.Itoa(fits[o.Input]), op.Heard.String(), strconv.FormatInt(o.Return, 10)
		if fits[o.Input] == 0 {
			place = ">>>"
		}
		if o.Return == math.MaxInt64 {
			heard, until = "never", ""
		}
		fmt.Fprintf(&text, "%6s %6d %13v %13s %3d-%-3s  %v = %v\n", place, o.ClientId, op.Sent, heard, o.Call, until, op, a)
	}
	_, err := io.WriteString(w, text.String())
	return err
}
