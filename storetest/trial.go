package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/onceward/onceward/driver"
)

// reporter is what a rule needs of a test. It is less than testing.TB, so that what is found in a store that is broken
// on purpose can be collected instead.
type reporter interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	FailNow()
	Cleanup(f func())
}

// trial is one rule being checked against a store of its own.
type trial struct {
	reporter
	rule  rule
	opts  *Options
	store driver.Store
	open  func() driver.Store
	// The hooks of Options, bound to the test; nil where there is none.
	full    func(records int) driver.Store
	crash   func(s driver.Store) driver.Store
	foreign func(s driver.Store) (intact func() error)
	trail   func(level driver.AuditLevel, retain time.Duration) driver.Store
}

// fatalf ends the rule: the broken promise, then what was seen.
func (t *trial) fatalf(format string, args ...any) {
	t.Helper()
	t.Errorf("%s\nseen: %s", t.rule.promise(), fmt.Sprintf(format, args...))
	t.FailNow()
}

func (t *trial) notApplicable(what, hook string) {
	t.Helper()
	t.Logf("not applicable: %s is not checked, because Options.%s is not set", what, hook)
}

func newID() driver.ID       { return driver.ID([]byte(random(32))) }
func newOwner() driver.Owner { return driver.Owner([]byte(random(16))) }

// claim is the plainest one: hold, and nothing ends before the rule does.
func (t *trial) claim() driver.Claim {
	return driver.Claim{
		Owner:        newOwner(),
		Fingerprint:  driver.Fingerprint{Algorithm: "sha256", Sum: "the request"},
		OnCrash:      driver.Hold,
		MaxAttempts:  3,
		MaxExecution: t.long(),
		Lease:        t.long(),
		Retain:       t.long(),
		DoubtRetain:  t.long(),
	}
}

// by is the same claim made by somebody else.
func by(c driver.Claim) driver.Claim {
	c.Owner = newOwner()
	return c
}

func answer(text string) driver.Outcome {
	return driver.Outcome{Kind: driver.Answer, Bytes: []byte(text)}
}

// The verbs, without what most rules do not need.

func (t *trial) acquire(id driver.ID, c driver.Claim) (r reading) {
	t.Helper()
	var err error
	r.at = during(func() { r.Grant, err = t.store.Acquire(context.Background(), id, c) })
	t.ok(err, "Acquire")
	return r
}

// wants makes an Acquire that must get the verdict.
func (t *trial) wants(want driver.Verdict, id driver.ID, c driver.Claim, what string, args ...any) reading {
	t.Helper()
	r := t.acquire(id, c)
	t.verdict(r, want, what, args...)
	return r
}

func (t *trial) verdict(r reading, want driver.Verdict, what string, args ...any) {
	t.Helper()
	if r.Verdict != want {
		t.fatalf("%s: the verdict is %v, want %v", fmt.Sprintf(what, args...), r.Verdict, want)
	}
}

func (t *trial) extend(id driver.ID, o driver.Owner, lease time.Duration) error {
	return t.store.Extend(context.Background(), id, o, driver.Extension{Lease: lease})
}

func (t *trial) complete(id driver.ID, o driver.Owner, out driver.Outcome) error {
	return t.store.Complete(context.Background(), id, o, out)
}

// completeBriefly completes a key whose outcome is kept for a short time. One who has to call again for longer than that, as
// when replies are lost, may rightly be told that there is nothing any more.
func (t *trial) completeBriefly(id driver.ID, o driver.Owner) {
	t.Helper()
	var err error
	called := during(func() { err = t.complete(id, o, answer("old")) })
	if !errors.Is(err, driver.ErrLost) || called.to.Sub(called.from) < t.short() {
		t.ok(err, "Complete")
	}
}

func (t *trial) release(id driver.ID, o driver.Owner) error {
	return t.store.Release(context.Background(), id, o, driver.Note{})
}

func (t *trial) resolve(id driver.ID, r driver.Resolution) error {
	return t.store.Resolve(context.Background(), id, r)
}

func (t *trial) get(id driver.ID) driver.Record {
	t.Helper()
	return t.getFrom(t.store, id)
}

func (t *trial) read(id driver.ID) (r reading) {
	t.Helper()
	r.at = during(func() { r.Record = t.get(id) })
	return r
}

func (t *trial) getFrom(s driver.Store, id driver.ID) driver.Record {
	t.Helper()
	r, err := s.Get(context.Background(), id)
	t.ok(err, "Get")
	if r.Phase != driver.PhaseAbsent && r.ID != id {
		t.fatalf("Get of %s returned the record of %s", id.Short(), r.ID.Short())
	}
	return r
}

// Judgements.

func (t *trial) ok(err error, what string, args ...any) {
	t.Helper()
	if err != nil {
		t.fatalf("%s failed: %v", fmt.Sprintf(what, args...), err)
	}
}

func (t *trial) lost(err error, what string, args ...any) {
	t.Helper()
	if !errors.Is(err, driver.ErrLost) {
		t.fatalf("%s returned %v, want ErrLost", fmt.Sprintf(what, args...), errorText(err))
	}
}

func (t *trial) state(id driver.ID, want, what string, args ...any) driver.Record {
	t.Helper()
	r := t.get(id)
	if r.State() != want {
		t.fatalf("%s: the record is %s, want %s", fmt.Sprintf(what, args...), r.State(), want)
	}
	return r
}

func (t *trial) outcome(r driver.Record, want driver.Outcome, what string, args ...any) {
	t.Helper()
	if r.Phase != driver.PhaseDone || r.Outcome.Kind != want.Kind || !bytes.Equal(r.Outcome.Bytes, want.Bytes) {
		t.fatalf("%s: the record is %s with %s, want done with %s",
			fmt.Sprintf(what, args...), r.State(), show(r.Outcome), show(want))
	}
}

// unchanged makes calls that must leave the record as it is, but for the time that passes.
func (t *trial) unchanged(id driver.ID, what string, calls func()) {
	t.Helper()
	before := t.read(id)
	calls()
	t.equal(t.read(id), before, "%s changed the record", what)
}

// equal compares two readings of one record.
func (t *trial) equal(got, want reading, what string, args ...any) {
	t.Helper()
	if diff := t.compare(got, want); diff != "" {
		t.fatalf("%s: %s", fmt.Sprintf(what, args...), diff)
	}
}

// compare says how a later reading differs from an earlier one by more than time, or nothing.
func (t *trial) compare(got, want reading) string {
	_, passed := got.at.after(want.at)
	return compare(got.Record, want.Record, passed, t.slack())
}

// compare says how two readings of one record differ, or nothing. Their durations may differ by as much time as may have
// passed between them, and by slack.
func compare(got, want driver.Record, passed, slack time.Duration) string {
	for _, d := range []struct {
		name      string
		got, want *time.Duration
		low, high time.Duration
	}{
		{"Lease", &got.Lease, &want.Lease, -passed, 0},
		{"Age", &got.Age, &want.Age, 0, passed},
		{"Left", &got.Left, &want.Left, -passed, 0},
	} {
		// A lease that is over may stay at zero or go on below it.
		over := d.name == "Lease" && *d.got <= 0 && *d.want <= 0
		if diff := *d.got - *d.want; !over && (diff < d.low-slack || diff > d.high+slack) {
			return fmt.Sprintf("%s was %v, is %v", d.name, *d.want, *d.got)
		}
		*d.got, *d.want = 0, 0
	}
	if !bytes.Equal(got.Outcome.Bytes, want.Outcome.Bytes) {
		return fmt.Sprintf("the outcome was %s, is %s", show(want.Outcome), show(got.Outcome))
	}
	got.Outcome.Bytes, want.Outcome.Bytes = nil, nil
	if !reflect.DeepEqual(got, want) {
		return fmt.Sprintf("it was\n\t%+v\nit is\n\t%+v", want, got)
	}
	return ""
}

func show(o driver.Outcome) string {
	if len(o.Bytes) > 60 {
		return fmt.Sprintf("%v %.60q… (%d bytes)", o.Kind, o.Bytes, len(o.Bytes))
	}
	return fmt.Sprintf("%v %q", o.Kind, o.Bytes)
}

func errorText(err error) string {
	if err == nil {
		return "no error"
	}
	return err.Error()
}
