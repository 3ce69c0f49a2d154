package storetest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
)

// withFaulty runs f in a bubble, which panics if a goroutine is left at its end.
func withFaulty(t *testing.T, f func(t *testing.T, faulty *Faulty, c driver.Claim)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		faulty := NewFaulty(newReference(sound))
		defer faulty.Close()
		tr := &trial{opts: new(Options)}
		*tr.opts = (*Options)(nil).withDefaults()
		f(t, faulty, tr.claim())
	})
}

func phase(t *testing.T, f *Faulty, id driver.ID) driver.Phase {
	t.Helper()
	r, err := f.Unwrap().Get(bg, id)
	if err != nil {
		t.Fatal(err)
	}
	return r.Phase
}

func expect(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func expectPhase(t *testing.T, f *Faulty, id driver.ID, want driver.Phase, when string) {
	t.Helper()
	if got := phase(t, f, id); got != want {
		t.Fatalf("%s the phase is %d, want %d", when, got, want)
	}
}

func TestFaultyPassesTheSuite(t *testing.T) {
	Run(t, func(t testing.TB) driver.Store {
		f := NewFaulty(newReference(sound))
		t.Cleanup(f.Close)
		return f
	}, &Options{Runs: 5})
}

func TestFaultyRefuses(t *testing.T) {
	withFaulty(t, func(t *testing.T, f *Faulty, c driver.Claim) {
		id := newID()
		f.Next(VerbAcquire, Refuse)
		g, err := f.Acquire(bg, id, c)
		expect(t, err, driver.ErrUnavailable)
		if g.Verdict != 0 {
			t.Fatalf("a refused Acquire answered %v", g.Verdict)
		}
		expectPhase(t, f, id, driver.PhaseAbsent, "after a refused Acquire")
		if g, err = f.Acquire(bg, id, c); err != nil || g.Verdict != driver.Acquired {
			t.Fatalf("the Acquire after it: %v, %v", g.Verdict, err)
		}
		if n := f.Calls(VerbAcquire); n != 2 {
			t.Fatalf("%d calls counted, want 2", n)
		}
	})
}

func TestFaultyAppliesThenFails(t *testing.T) {
	withFaulty(t, func(t *testing.T, f *Faulty, c driver.Claim) {
		id := newID()
		f.Always(VerbAcquire, ApplyThenFail)
		for range 2 {
			_, err := f.Acquire(bg, id, c)
			expect(t, err, ErrBroken)
			expectPhase(t, f, id, driver.PhaseRunning, "after an Acquire whose answer broke")
		}
		f.Always(VerbAcquire, Fault{})
		_, err := f.Acquire(bg, id, c)
		expect(t, err, nil)
	})
}

func TestFaultyFailsThenApplies(t *testing.T) {
	withFaulty(t, func(t *testing.T, f *Faulty, c driver.Claim) {
		id := newID()
		if _, err := f.Acquire(bg, id, c); err != nil {
			t.Fatal(err)
		}
		f.Next(VerbComplete, FailThenApply)
		ctx, cancel := context.WithCancel(bg)
		out := answer("late")
		expect(t, f.Complete(ctx, id, c.Owner, out), ErrBroken)
		expectPhase(t, f, id, driver.PhaseRunning, "before Apply")
		cancel()
		clear(out.Bytes) // it belongs to the caller
		if n := f.Apply(); n != 1 {
			t.Fatalf("Apply made %d calls, want 1", n)
		}
		r, err := f.Get(bg, id)
		expect(t, err, nil)
		if string(r.Outcome.Bytes) != "late" {
			t.Fatalf("after Apply the outcome is %q", r.Outcome.Bytes)
		}
		if n := f.Apply(); n != 0 {
			t.Fatalf("Apply made %d calls again", n)
		}
	})
}

func TestFaultyAppliesInTheBackground(t *testing.T) {
	withFaulty(t, func(t *testing.T, f *Faulty, c driver.Claim) {
		soon, early, never := newID(), newID(), newID()
		for _, id := range []driver.ID{soon, early} {
			f.Next(VerbAcquire, FailThenApplyAfter(time.Minute))
			_, err := f.Acquire(bg, id, c)
			expect(t, err, ErrBroken)
		}
		time.Sleep(time.Minute - 1)
		expectPhase(t, f, soon, driver.PhaseAbsent, "just before the minute is over")
		time.Sleep(2 * time.Nanosecond)
		synctest.Wait()
		expectPhase(t, f, soon, driver.PhaseRunning, "after the minute")
		expectPhase(t, f, early, driver.PhaseRunning, "after the minute")
		if n := f.Apply(); n != 0 {
			t.Fatalf("Apply made %d calls that were made already", n)
		}
		f.Next(VerbAcquire, FailThenApplyAfter(time.Minute))
		_, err := f.Acquire(bg, never, c)
		expect(t, err, ErrBroken)
		f.Close()
		time.Sleep(time.Hour)
		expectPhase(t, f, never, driver.PhaseAbsent, "after Close")
	})
}

func TestFaultyDelays(t *testing.T) {
	withFaulty(t, func(t *testing.T, f *Faulty, c driver.Claim) {
		id, start := newID(), time.Now()
		f.Next(VerbAcquire, Delay(time.Minute), Delay(time.Hour))
		_, err := f.Acquire(bg, id, c)
		expect(t, err, nil)
		if took := time.Since(start); took != time.Minute {
			t.Fatalf("it took %v", took)
		}
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		_, err = f.Acquire(ctx, newID(), c)
		expect(t, err, context.DeadlineExceeded)
	})
}

func TestFaultyHolds(t *testing.T) {
	withFaulty(t, func(t *testing.T, f *Faulty, c driver.Claim) {
		before, after, left := newID(), newID(), newID()
		returned := make(chan error, 1)
		acquire := func(ctx context.Context, id driver.ID) {
			_, err := f.Acquire(ctx, id, c)
			returned <- err
		}

		gate := f.Hold(VerbAcquire)
		go acquire(bg, before)
		<-gate.Arrived()
		expectPhase(t, f, before, driver.PhaseAbsent, "while the call is held")
		gate.Open()
		expect(t, <-returned, nil)
		expectPhase(t, f, before, driver.PhaseRunning, "when the gate was opened")

		gate = f.HoldReply(VerbAcquire)
		go acquire(bg, after)
		<-gate.Arrived()
		expectPhase(t, f, after, driver.PhaseRunning, "while the reply is held")
		gate.Open()
		expect(t, <-returned, nil)

		gate = f.Hold(VerbAcquire)
		ctx, cancel := context.WithCancel(bg)
		go acquire(ctx, left)
		<-gate.Arrived()
		cancel()
		expect(t, <-returned, context.Canceled)
		expectPhase(t, f, left, driver.PhaseAbsent, "when the caller left")

		gate = f.Hold(VerbAcquire)
		go acquire(bg, left)
		<-gate.Arrived()
		f.Close()
		expect(t, <-returned, nil)
	})
}

func TestFaultyRandomly(t *testing.T) {
	withFaulty(t, func(t *testing.T, f *Faulty, _ driver.Claim) {
		f.Randomly(1, 0.3, Refuse)
		refused := 0
		for range 1000 {
			if _, err := f.Get(bg, newID()); errors.Is(err, driver.ErrUnavailable) {
				refused++
			}
		}
		if refused < 200 || refused > 400 {
			t.Fatalf("%d of 1000 calls refused, want about 300", refused)
		}
		f.Randomly(0, 0)
		if _, err := f.Get(bg, newID()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFaultyLeavesOptionalInterfacesAlone(t *testing.T) {
	f := NewFaulty(newReference(sound))
	defer f.Close()
	if _, ok := driver.As[driver.Sweeper](f); !ok {
		t.Fatal("the Sweeper inside is not found")
	}
}
