package onceward_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

var (
	payment = onceward.Key{Scope: "customer 7", Operation: "charge", Value: "order-4711-0000-0000"}
	amount  = onceward.Fingerprint{Algorithm: "test", Sum: "12 EUR"}
	other   = onceward.Fingerprint{Algorithm: "test", Sum: "99 EUR"}
)

// newGuard makes a guard that the test closes, on a store that several guards may share.
func newGuard(t *testing.T, store driver.Store, opts *onceward.Options) *onceward.Guard {
	t.Helper()
	g, err := onceward.New(store, opts)
	check.NoError(t, err, "New")
	t.Cleanup(func() { closeGuard(t, g) })
	return g
}

func closeGuard(t *testing.T, g *onceward.Guard) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	check.NoError(t, g.Close(ctx), "Close")
}

func begin(t *testing.T, g *onceward.Guard, policy *onceward.Policy) *onceward.Attempt {
	t.Helper()
	a, err := g.Begin(context.Background(), payment, policy, amount)
	check.NoError(t, err, "Begin")
	return a
}

func refused(t *testing.T, g *onceward.Guard, reason error) {
	t.Helper()
	r := refusal(t, g)
	check.ErrorIs(t, r, reason, "Begin of a duplicate")
}

// refusal returns why a duplicate may not run.
func refusal(t *testing.T, g *onceward.Guard) *onceward.RefusedError {
	t.Helper()
	_, err := g.Begin(context.Background(), payment, nil, amount)
	var refused *onceward.RefusedError
	check.True(t, errors.As(err, &refused), "a duplicate got %v, which is not a RefusedError", err)
	return refused
}

func replayed(t *testing.T, g *onceward.Guard, want string) {
	t.Helper()
	answer, ok := begin(t, g, nil).Outcome()
	check.True(t, ok, "a duplicate of a completed operation was told to run")
	check.Equal(t, string(answer), want, "replayed answer")
}

func state(t *testing.T, g *onceward.Guard) string {
	t.Helper()
	record, err := g.Lookup(context.Background(), payment)
	check.NoError(t, err, "Lookup")
	return record.State()
}

func TestOnlyOneOfManyRuns(t *testing.T) {
	check.NoLeaks(t)
	g := newGuard(t, memstore.New(nil), nil)
	var ran, inProgress atomic.Int32
	var all sync.WaitGroup
	release := make(chan struct{})
	for range 500 {
		all.Go(func() {
			a, err := g.Begin(context.Background(), payment, nil, amount)
			if errors.Is(err, onceward.ErrInProgress) {
				if inProgress.Add(1) == 499 {
					close(release)
				}
				return
			}
			check.NoError(t, err, "Begin")
			ran.Add(1)
			<-release
			check.NoError(t, a.Complete([]byte("paid")), "Complete")
		})
	}
	all.Wait()
	check.Equal(t, ran.Load(), 1, "attempts")
	replayed(t, g, "paid")
}

func TestAnotherRequestWithTheSameKeyIsRefused(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	reuse := func() error {
		_, err := g.Begin(context.Background(), payment, nil, other)
		return err
	}
	a := begin(t, g, nil)
	check.ErrorIs(t, reuse(), onceward.ErrKeyReused, "while it runs")
	check.NoError(t, a.Complete(nil), "Complete")
	check.ErrorIs(t, reuse(), onceward.ErrKeyReused, "after it ended")
	_, err := g.Begin(context.Background(), payment, nil, other, amount)
	check.NoError(t, err, "Begin with the stored fingerprint among the claim's")
}

func TestScopesAndOperationsNeverMeet(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	for _, key := range []onceward.Key{
		{Scope: "a", Operation: "b", Value: "c"}, {Scope: "ab", Operation: "c", Value: "d"},
		{Scope: "a", Operation: "bc", Value: "d"}, {Scope: "a", Operation: "b", Value: "cd"},
	} {
		a, err := g.Begin(context.Background(), key, nil, amount)
		check.NoError(t, err, "Begin of %v", key)
		_, replay := a.Outcome()
		check.True(t, !replay, "%v met another key", key)
		check.NoError(t, a.Complete(nil), "Complete")
	}
}

func TestAnEmptyPartOfTheKeyIsAnError(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	for _, key := range []onceward.Key{
		{Operation: "b", Value: "c"}, {Scope: "a", Value: "c"}, {Scope: "a", Operation: "b"},
	} {
		_, err := g.Begin(context.Background(), key, nil, amount)
		check.True(t, err != nil, "Begin accepted %+v", key)
		_, err = g.Lookup(context.Background(), key)
		check.True(t, err != nil, "Lookup accepted %+v", key)
		err = g.Resolve(context.Background(), key, driver.Resolution{})
		check.True(t, err != nil, "Resolve accepted %+v", key)
	}
}

func TestHeartbeatHoldsTheKeyForManyLeases(t *testing.T) {
	for _, onCrash := range []driver.OnCrash{onceward.Hold, onceward.Rerun} {
		synctest.Test(t, func(t *testing.T) {
			g := newGuard(t, memstore.New(nil), &onceward.Options{Policy: onceward.Policy{OnCrash: onCrash}})
			a := begin(t, g, nil)
			time.Sleep(5 * time.Minute) // ten leases
			check.NoError(t, a.Context().Err(), "context after ten leases under %v", onCrash)
			refused(t, g, onceward.ErrInProgress)
			check.NoError(t, a.Complete([]byte("paid")), "Complete")
			replayed(t, g, "paid")
		})
	}
}

func TestAnAttemptEndsOnce(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	ends := map[string]func(a *onceward.Attempt) error{
		"Complete":  func(a *onceward.Attempt) error { return a.Complete([]byte("other")) },
		"Tombstone": func(a *onceward.Attempt) error { return a.Tombstone(nil) },
		"Release":   func(a *onceward.Attempt) error { return a.Release("") },
		"Doubt":     func(a *onceward.Attempt) error { return a.Doubt("") },
	}
	a := begin(t, g, nil)
	check.NoError(t, a.Complete([]byte("paid")), "Complete")
	check.True(t, a.Ended(), "it does not say that it has ended")
	check.NoError(t, a.Context().Err(), "context of an attempt whose handler still runs")
	a.Cancel()
	check.ErrorIs(t, a.Context().Err(), context.Canceled, "context after Cancel")
	replay := begin(t, g, nil)
	for name, end := range ends {
		check.True(t, end(a) != nil, "%s of an ended attempt succeeded", name)
		check.True(t, end(replay) != nil, "%s of a replay succeeded", name)
	}
	replayed(t, g, "paid")
}

func TestTombstoneRefusesRetries(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	check.NoError(t, begin(t, g, nil).Tombstone([]byte("201, 3 GiB")), "Tombstone")
	r := refusal(t, g)
	check.ErrorIs(t, r, onceward.ErrNotStored, "Begin of a duplicate")
	check.Equal(t, string(r.Record.Outcome.Bytes), "201, 3 GiB", "summary")
	check.Equal(t, r.RetryAfter, 0, "RetryAfter of what no retry can change")
}

func TestReleaseLetsTheNextCallerRun(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	first := begin(t, g, nil)
	check.NoError(t, first.Release("rolled back"), "Release")
	second := begin(t, g, nil)
	check.True(t, second.Fence() > first.Fence(), "fence %d after %d", second.Fence(), first.Fence())
	check.NoError(t, second.Complete(nil), "Complete")
}

func TestDoubtIsToldAtOnceAndResolved(t *testing.T) {
	ctx := context.Background()
	g := newGuard(t, memstore.New(nil), nil)
	check.NoError(t, begin(t, g, nil).Doubt("upstream broke off"), "Doubt")
	doubt := refusal(t, g)
	check.ErrorIs(t, doubt, onceward.ErrInDoubt, "Begin of a duplicate")
	check.Equal(t, doubt.RetryAfter, 0, "RetryAfter of a doubt")
	check.Equal(t, doubt.Record.Note.Reason, "upstream broke off", "reason")

	answer := driver.Outcome{Kind: driver.Answer, Bytes: []byte("paid, says the bank"), Retain: time.Hour}
	stale := driver.Resolution{Fence: doubt.Record.Fence + 1, Outcome: &answer}
	check.ErrorIs(t, g.Resolve(ctx, payment, stale), driver.ErrLost, "Resolve with a fence that nobody saw")
	check.NoError(t, g.Resolve(ctx, payment, driver.Resolution{Fence: doubt.Record.Fence, Outcome: &answer}), "Resolve")
	replayed(t, g, "paid, says the bank")
}

func TestDoubtUnderRerunRunsAgain(t *testing.T) {
	g := newGuard(t, memstore.New(nil), &onceward.Options{Policy: onceward.Policy{OnCrash: onceward.Rerun, MaxAttempts: 2}})
	check.NoError(t, begin(t, g, nil).Doubt("timeout"), "Doubt")
	second := begin(t, g, nil)
	check.Equal(t, second.Number(), 2, "attempt")
	check.NoError(t, second.Doubt("timeout"), "Doubt")
	refused(t, g, onceward.ErrInDoubt) // a poison key: its attempts are used up
}

func TestAClientThatLeavesDoesNotStopTheWork(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	for _, follow := range []bool{false, true} {
		ctx, leave := context.WithCancel(context.WithValue(context.Background(), payment, "value"))
		key := payment
		key.Value = onceward.NewKey("")
		a, err := g.Begin(ctx, key, &onceward.Policy{FollowCaller: follow}, amount)
		check.NoError(t, err, "Begin")
		check.Equal(t, a.Context().Value(payment), any("value"), "value of Begin's context")
		from, ok := onceward.FromContext(a.Context())
		check.True(t, ok && from == a, "FromContext does not find the attempt")
		leave()
		check.Equal(t, a.Context().Err() != nil, follow, "cancelled, FollowCaller %v", follow)
		check.NoError(t, a.Complete([]byte("paid")), "Complete after the client left")
	}
}

func TestNothingRunsForACallerWhoLeftBefore(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	ctx, leave := context.WithCancel(context.Background())
	leave()
	_, err := g.Begin(ctx, payment, nil, amount)
	check.ErrorIs(t, err, context.Canceled, "Begin")
	closeGuard(t, g) // waits for what Begin may have left behind
	check.Equal(t, state(t, g), "absent", "state")
}

func TestAClosedGuardRunsNothing(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	running := begin(t, g, nil)
	closeGuard(t, g)
	refused(t, g, onceward.ErrUnavailable)
	check.NoError(t, running.Complete([]byte("paid")), "Complete after Close")
	check.Equal(t, state(t, g), "done", "state")
}

func TestChildKeysAreStableAndDiffer(t *testing.T) {
	g := newGuard(t, memstore.New(nil), &onceward.Options{Policy: onceward.Policy{OnCrash: onceward.Rerun}})
	first := begin(t, g, nil)
	ledger, mail := first.ChildKey("ledger"), first.ChildKey("mail")
	check.True(t, ledger != mail, "two calls got one key")
	check.NoError(t, first.Doubt(""), "Doubt")
	check.Equal(t, begin(t, g, nil).ChildKey("ledger"), ledger, "key of the second attempt's call")
}

func TestLookupDoesNotAsk(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	check.Equal(t, state(t, g), "absent", "before")
	a := begin(t, g, nil)
	check.Equal(t, state(t, g), "running", "while it runs")
	check.NoError(t, a.Complete(nil), "Complete")
	check.Equal(t, state(t, g), "done", "after")
}
