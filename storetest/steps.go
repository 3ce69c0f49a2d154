package storetest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/onceward/onceward/driver"
)

// step is one transition, for the rules that interrupt it: a key that is ready for it, the call, and how to see that it
// happened wholly.
type step struct {
	name     string
	ready    func(t *trial, s driver.Store, id driver.ID, c driver.Claim) // nil when the key is to be absent
	call     func(ctx context.Context, s driver.Store, id driver.ID, c driver.Claim) error
	happened func(r driver.Record) bool
	once     bool // a repeated call is lost
}

var stepOutcome = answer("the outcome of a step")

var steps = []step{
	{
		name: "Acquire",
		call: func(ctx context.Context, s driver.Store, id driver.ID, c driver.Claim) error {
			g, err := s.Acquire(ctx, id, c)
			if err == nil && g.Verdict != driver.Acquired {
				err = fmt.Errorf("verdict %v, want acquired", g.Verdict)
			}
			return err
		},
		happened: func(r driver.Record) bool {
			return r.State() == "running" && r.Fingerprint.Sum != "" && r.Attempt == 1
		},
	},
	{
		name:  "Extend with lease 0",
		ready: acquired,
		call: func(ctx context.Context, s driver.Store, id driver.ID, c driver.Claim) error {
			return s.Extend(ctx, id, c.Owner, driver.Extension{})
		},
		happened: func(r driver.Record) bool { return r.State() == "in-doubt" && r.GivenUp },
	},
	{
		name:  "Complete",
		ready: acquired,
		call: func(ctx context.Context, s driver.Store, id driver.ID, c driver.Claim) error {
			return s.Complete(ctx, id, c.Owner, stepOutcome)
		},
		happened: endedWhole,
	},
	{
		name:  "Release",
		ready: acquired,
		call: func(ctx context.Context, s driver.Store, id driver.ID, c driver.Claim) error {
			return s.Release(ctx, id, c.Owner, driver.Note{})
		},
		happened: func(r driver.Record) bool { return r.Phase == driver.PhaseAbsent },
	},
	{
		name: "Resolve",
		ready: func(t *trial, s driver.Store, id driver.ID, c driver.Claim) {
			acquired(t, s, id, c)
			t.ok(s.Extend(bg, id, c.Owner, driver.Extension{}), "Extend with lease 0")
		},
		call: func(ctx context.Context, s driver.Store, id driver.ID, _ driver.Claim) error {
			r, err := s.Get(bg, id)
			if err != nil {
				return err
			}
			return s.Resolve(ctx, id, driver.Resolution{Fence: r.Fence, Outcome: &stepOutcome})
		},
		happened: endedWhole,
		once:     true,
	},
}

func acquired(t *trial, s driver.Store, id driver.ID, c driver.Claim) {
	t.Helper()
	g, err := s.Acquire(bg, id, c)
	t.ok(err, "Acquire")
	if g.Verdict != driver.Acquired {
		t.fatalf("Acquire of a new key: the verdict is %v, want acquired", g.Verdict)
	}
}

func endedWhole(r driver.Record) bool {
	return r.Phase == driver.PhaseDone && r.Left > 0 &&
		r.Outcome.Kind == stepOutcome.Kind && bytes.Equal(r.Outcome.Bytes, stepOutcome.Bytes)
}

// prepare makes a key that is ready for the step.
func (st *step) prepare(t *trial, s driver.Store) (driver.ID, driver.Claim) {
	t.Helper()
	id, c := newID(), t.claim()
	if st.ready != nil {
		st.ready(t, s, id, c)
	}
	return id, c
}
