package intx

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

func TestADuplicateIsToldAtOnce(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		got, err := k.do(charge(func() error {
			begun := time.Now()
			_, err := k.do(k.never)
			check.ErrorIs(k, err, onceward.ErrInProgress, "Do of a duplicate")
			_, err = Do(context.Background(), k.g, k.tx, order, 200, k.never)
			check.ErrorIs(k, err, onceward.ErrInProgress, "Do of another input: nothing is known of the first yet")
			check.Equal(k, time.Since(begun), 0, "how long they waited")
			return nil
		}))
		check.NoError(k, err, "Do")
		check.Equal(k, got, "receipt", "result")
		k.check(1, "done")
	})
}

// Those who wait share one look, and none of them has a transaction while it sleeps.
func TestDuplicatesWaitTogether(t *testing.T) {
	for name, end := range map[string]error{"done": nil, "rolled back": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			with(t, onceward.Policy{Wait: time.Minute}, func(k *kit) {
				const waiters = 100
				results := make(chan string, waiters)
				_, _ = k.do(charge(func() error {
					for range waiters {
						go func() {
							got, err := k.do(charge(nil))
							check.NoError(k, err, "Do of a waiter")
							results <- got
						}()
					}
					time.Sleep(time.Second)
					k.d.mu.Lock()
					begun := k.d.begun
					check.Equal(k, k.d.open, 1, "transactions while they wait")
					k.d.mu.Unlock()
					time.Sleep(20 * time.Second)
					k.d.mu.Lock()
					check.True(k, k.d.begun-begun < 30, "%d looks in 20 s", k.d.begun-begun)
					k.d.mu.Unlock()
					return end
				}))
				for range waiters {
					check.Equal(k, <-results, "receipt", "result of a waiter")
				}
				k.check(1, "done")
			})
		})
	}
}

func TestAConflictIsTriedAgain(t *testing.T) {
	for name, inCommit := range map[string]bool{"of a statement": false, "of COMMIT": true} {
		t.Run(name, func(t *testing.T) {
			with(t, onceward.Policy{}, func(k *kit) {
				runs := 0
				k.d.commit = func(n int) fault {
					if inCommit && n < 3 {
						return conflict
					}
					return none
				}
				got, err := k.do(charge(func() error {
					if runs++; !inCommit && runs < 3 {
						return onceward.Final(errConflict) // a word about it does not change what it is
					}
					return nil
				}))
				check.NoError(k, err, "Do")
				check.Equal(k, got, "receipt", "result")
				check.Equal(k, runs, 3, "runs")
				k.check(1, "done")
				check.Equal(k, k.steps["lease-lost"], 0, "keys that were lost")
			})
		})
	}
}

func TestConflictsWithoutEnd(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		runs := 0
		_, err := k.do(charge(func() error { runs++; return errConflict }))
		check.ErrorIs(k, err, onceward.ErrUnavailable, "Do")
		check.ErrorIs(k, err, errConflict, "Do")
		check.Equal(k, runs, turns, "runs")
		k.d.commit = func(int) fault { return conflict }
		_, err = k.do(charge(func() error { runs++; return nil }))
		check.ErrorIs(k, err, onceward.ErrUnavailable, "Do")
		check.ErrorIs(k, err, errConflict, "Do")
		check.Equal(k, runs, 2*turns, "runs")
		k.check(0, "absent")

		ctx, leave := context.WithCancel(context.Background())
		_, err = Do(ctx, k.g, k.tx, order, 100, charge(func() error { runs++; leave(); return errConflict }))
		check.ErrorIs(k, err, errConflict, "Do of a caller that left")
		check.Equal(k, runs, 2*turns+1, "runs")
	})
}

func TestARollbackIsNoSuccess(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		k.d.commit = func(n int) fault { return []fault{none, aborted, none}[n] }
		_, err := k.do(charge(nil))
		check.ErrorIs(k, err, onceward.ErrUnavailable, "Do")
		check.ErrorIs(k, err, ErrNotCommitted, "Do")
		k.check(0, "absent")
		_, err = k.do(charge(nil))
		check.NoError(k, err, "Do again")
		k.check(1, "done")
	})
}

// Somebody who asks the same store for the same key outside of a transaction is seen at the end, at the latest.
func TestAnOrdinaryAttemptInBetween(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		runs := 0
		got, err := k.do(charge(func() error {
			if runs++; runs == 1 {
				k.other("theirs")
			}
			return nil
		}))
		check.NoError(k, err, "Do")
		check.Equal(k, got, "theirs", "result")
		k.check(0, "done")
	})
}

func TestVerdictsByWhatWasSeen(t *testing.T) {
	mine, other := driver.Owner{1}, driver.Owner{2}
	same, another := driver.Fingerprint{Algorithm: "a", Sum: "1"}, driver.Fingerprint{Algorithm: "a", Sum: "2"}
	rec := func(p driver.Phase, f driver.Fingerprint, change func(*driver.Record)) driver.Record {
		r := driver.Record{
			Phase: p, Fingerprint: f, OnCrash: driver.Hold, Fence: 7, Attempt: 2, MaxAttempts: 3, Left: time.Hour,
		}
		if change != nil {
			change(&r)
		}
		return r
	}
	expired := func(r *driver.Record) { r.Left = 0 }
	for name, c := range map[string]struct {
		work    work
		verdict driver.Verdict
		fence   uint64
		attempt int
	}{
		"nothing":       {work{}, driver.Acquired, 1, 1},
		"taken":         {work{isTaken: true}, driver.Running, 0, 0},
		"residue":       {work{seen: rec(driver.PhaseAbsent, same, nil), owner: other}, driver.Acquired, 8, 1},
		"own residue":   {work{seen: rec(driver.PhaseAbsent, same, nil), owner: mine}, driver.Lost, 0, 0},
		"old residue":   {work{seen: rec(driver.PhaseAbsent, same, expired), owner: mine}, driver.Acquired, 8, 1},
		"done":          {work{seen: rec(driver.PhaseDone, same, nil), owner: other}, driver.Done, 7, 2},
		"done by me":    {work{seen: rec(driver.PhaseDone, same, nil), owner: mine}, driver.Done, 7, 2},
		"expired":       {work{seen: rec(driver.PhaseDone, another, expired), owner: other}, driver.Acquired, 8, 1},
		"mismatch":      {work{seen: rec(driver.PhaseDone, another, nil)}, driver.Mismatch, 7, 2},
		"early mismach": {work{seen: rec(driver.PhaseRunning, another, nil)}, driver.Mismatch, 7, 2},
		"in doubt":      {work{seen: rec(driver.PhaseRunning, same, nil)}, driver.InDoubt, 7, 2},
		"running": {work{seen: rec(driver.PhaseRunning, same, func(r *driver.Record) {
			r.Lease = time.Second
		})}, driver.Running, 7, 2},
		"rerun": {work{seen: rec(driver.PhaseRunning, same, func(r *driver.Record) {
			r.OnCrash = driver.Rerun
		})}, driver.Acquired, 8, 3},
		"rerun no more": {work{seen: rec(driver.PhaseRunning, same, func(r *driver.Record) {
			r.OnCrash, r.Attempt = driver.Rerun, 3
		})}, driver.InDoubt, 7, 3},
	} {
		g := judge(Work[*tx](&c.work), driver.ID{}, &driver.Claim{Owner: mine, Fingerprint: same, Lease: time.Minute})
		check.Equal(t, g.Verdict, c.verdict, "%s: verdict", name)
		check.Equal(t, g.Record.Fence, c.fence, "%s: fence", name)
		check.Equal(t, g.Record.Attempt, c.attempt, "%s: attempt", name)
		if g.Verdict == driver.Acquired || g.Verdict == driver.Running {
			check.True(t, g.Record.Lease > 0, "%s: lease %v", name, g.Record.Lease)
			check.Equal(t, g.Record.Fingerprint, same, "%s: fingerprint", name)
		}
	}
}

func TestASignOfLifeEndsNothing(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		ctx, leave := k.tx.Open(context.Background())
		defer leave()
		c := driver.Claim{
			Owner: driver.Owner{1}, OnCrash: driver.Hold, MaxExecution: time.Hour, Lease: time.Minute, Retain: time.Hour,
			DoubtRetain: time.Hour,
		}
		alive := func() error { return k.tx.Extend(ctx, order.ID(), c.Owner, driver.Extension{Lease: c.Lease}) }
		g, err := k.tx.Acquire(ctx, order.ID(), c)
		check.NoError(k, err, "Acquire")
		check.Equal(k, g.Verdict, driver.Acquired, "verdict")
		check.NoError(k, k.tx.Run(ctx, func() bool { return alive() == nil }), "Run")
		check.NoError(k, alive(), "Extend")
		g, err = k.tx.Acquire(ctx, order.ID(), c)
		check.NoError(k, err, "Acquire in a session that has a transaction")
		check.Equal(k, g.Verdict, driver.Lost, "verdict of a second Acquire")
		out := driver.Outcome{Kind: driver.Answer, Bytes: []byte("kept")}
		check.NoError(k, k.tx.Complete(ctx, order.ID(), c.Owner, out), "Complete")
		check.ErrorIs(k, alive(), driver.ErrLost, "Extend after the end")
		check.ErrorIs(k, k.tx.Complete(ctx, order.ID(), c.Owner, out), driver.ErrTransaction, "Complete after the end")
		k.check(0, "done")
	})
}

// What comes from the guard's background, where there is no session, is answered for good.
func TestWithoutASession(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		ctx, id := context.Background(), order.ID()
		_, err := k.tx.Acquire(ctx, id, driver.Claim{})
		check.ErrorIs(k, err, driver.ErrUnavailable, "Acquire")
		check.ErrorIs(k, k.tx.Extend(ctx, id, driver.Owner{}, driver.Extension{Lease: 1}), driver.ErrLost, "Extend")
		check.ErrorIs(k, k.tx.Complete(ctx, id, driver.Owner{}, driver.Outcome{}), driver.ErrLost, "Complete")
		check.NoError(k, k.tx.Release(ctx, id, driver.Owner{}, driver.Note{}), "Release")
		check.ErrorIs(k, k.tx.Run(ctx, func() bool { k.Error("it ran"); return true }), errNoTransaction, "Run")
		_, ok := driver.As[driver.Sweeper](k.tx)
		check.True(k, ok, "what else the ordinary store can do is not found")
	})
}

// An operator sees a key in a transaction as running, if at all, and resolves through the ordinary store.
func TestLookupAndResolve(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		inTx := k.tx.With(k.g)
		check.True(k, inTx == k.tx.With(k.g), "the guard is another one each time")
		_, err := k.do(charge(func() error {
			r, err := inTx.Lookup(context.Background(), order)
			check.NoError(k, err, "Lookup")
			check.Equal(k, r.State(), "running", "state of a key that is taken")
			return nil
		}))
		check.NoError(k, err, "Do")
		check.NoError(k, inTx.Resolve(context.Background(), order, driver.Resolution{Fence: 1, Force: true}), "Resolve")
		fence := uint64(0)
		_, err = k.do(func(ctx context.Context, _ *tx) (string, error) {
			a, _ := onceward.FromContext(ctx)
			fence = a.Fence()
			return "", nil
		})
		check.NoError(k, err, "Do after Resolve")
		check.Equal(k, fence, 3, "fence after a Resolve")
	})
}
