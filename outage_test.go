package onceward_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/storetest"
)

// The callers' deadlines are shorter than the store's: none of them can say that the store hangs.
func TestAStoreThatHangsIsNoticedWithoutItsCallers(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		f.Always(storetest.VerbAcquire, storetest.Delay(time.Hour))
		f.Always(storetest.VerbRelease, storetest.Delay(time.Hour))
		before := runtime.NumGoroutine()
		for range 500 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			_, err := g.Begin(ctx, payment, nil, amount)
			cancel()
			check.ErrorIs(t, err, onceward.ErrUnavailable, "Begin")
		}
		left := runtime.NumGoroutine() - before
		check.True(t, left < 30, "%d goroutines undo 500 calls: there should be one for each probe of the breaker", left)
		f.Always(storetest.VerbAcquire, storetest.Fault{})
		f.Always(storetest.VerbRelease, storetest.Fault{})
		time.Sleep(10 * time.Second)
	})
}

func TestCallersWhoLeftBeforeTheyAskedLeaveNothingToUndo(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		ctx, leave := context.WithCancel(context.Background())
		leave()
		before := f.Calls(storetest.VerbAcquire)
		_, err := g.Begin(ctx, payment, nil, amount)
		check.ErrorIs(t, err, context.Canceled, "Begin")
		synctest.Wait()
		check.Equal(t, f.Calls(storetest.VerbAcquire)-before, 0, "Acquires")
		check.Equal(t, f.Calls(storetest.VerbRelease), 0, "Releases")
	})
}

// The store was down when the guard started. It holds keys of other rules, and the breaker is open while that is found out.
func TestOtherRulesDoNotKeepTheBreakersProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(memstore.New(nil))
		defer f.Close()
		newGuard(t, f, nil)
		f.Next(storetest.VerbAcquire, storetest.Refuse)
		open := onceward.Policy{FailOpen: true}
		g := newGuard(t, f, &onceward.Options{Identity: "another scope", BreakerFailures: 1, Policy: open})
		for range 3 {
			time.Sleep(2 * time.Second)
			refused(t, g, onceward.ErrUnavailable)
		}
		_, err := g.Lookup(context.Background(), payment)
		check.NoError(t, err, "Lookup on a healthy store")
	})
}

// A guard on another store, such as a transaction's, must not settle what the first store has not been asked yet.
func TestTheIdentityIsThatOfTheFirstStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(memstore.New(nil))
		defer f.Close()
		newGuard(t, f, nil)
		f.Next(storetest.VerbAcquire, storetest.Refuse)
		g := newGuard(t, f, &onceward.Options{Identity: "another scope"})
		refused(t, g.With(memstore.New(nil)), onceward.ErrUnavailable)
		refused(t, g, onceward.ErrUnavailable)
	})
}

func TestCallersWithADeadlineDoNotQueueForTheIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(memstore.New(nil))
		defer f.Close()
		f.Next(storetest.VerbAcquire, storetest.Refuse)
		g := newGuard(t, f, nil)
		f.Always(storetest.VerbAcquire, storetest.Delay(time.Hour))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { refused(t, g, onceward.ErrUnavailable) })
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		begun := time.Now()
		_, err := g.Begin(ctx, payment, nil, amount)
		check.ErrorIs(t, err, context.DeadlineExceeded, "Begin")
		check.Equal(t, time.Since(begun), 100*time.Millisecond, "waited")
		all.Wait()
	})
}

func TestWhatCloseGivesUpIsNotTracedAsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen steps
		f := storetest.NewFaulty(memstore.New(nil))
		defer f.Close()
		g, err := onceward.New(f, &onceward.Options{Trace: seen.trace})
		check.NoError(t, err, "New")
		a := begin(t, g, nil)
		f.Always(storetest.VerbComplete, storetest.Refuse)
		check.ErrorIs(t, a.Complete(nil), onceward.ErrUnavailable, "Complete")
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		check.ErrorIs(t, g.Close(ctx), context.DeadlineExceeded, "Close")
		synctest.Wait()
		check.Equal(t, seen.names(), []string{"acquired", "completed-pending", "abandoned"}, "steps")
	})
}

func TestAnUnprotectedAttemptHasItsMaxExecution(t *testing.T) {
	faulty(t, onceward.Options{Policy: onceward.Policy{FailOpen: true}},
		func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
			f.Always(storetest.VerbAcquire, storetest.Refuse)
			a := begin(t, g, nil)
			begun := time.Now()
			<-a.Context().Done()
			check.Equal(t, time.Since(begun), 10*time.Minute, "cancelled after")
			check.NoError(t, a.Release("too late"), "Release")
		})
}

// buggy is a store that panics when told to.
type buggy struct {
	driver.Store
	acquire, complete atomic.Bool
}

func (b *buggy) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	if b.acquire.Load() {
		panic("a bug of the store")
	}
	return b.Store.Acquire(ctx, id, c)
}

func (b *buggy) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	if b.complete.Load() {
		panic("a bug of the store")
	}
	return b.Store.Complete(ctx, id, o, out)
}

func panics(f func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	f()
	return false
}

func TestAPanicOfTheStoreHasNoLastingEffect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bug := &buggy{Store: memstore.New(nil)}
		f := storetest.NewFaulty(bug)
		defer f.Close()
		g := newGuard(t, f, &onceward.Options{BreakerFailures: 1})

		f.Next(storetest.VerbAcquire, storetest.Refuse)
		refused(t, g, onceward.ErrUnavailable)
		time.Sleep(time.Second)
		bug.acquire.Store(true)
		check.True(t, panics(func() { begin(t, g, nil) }), "the probe did not panic")
		bug.acquire.Store(false)
		time.Sleep(10 * time.Second)
		a := begin(t, g, nil)

		bug.complete.Store(true)
		check.True(t, panics(func() { _ = a.Complete(nil) }), "Complete did not panic")
		time.Sleep(11 * time.Minute)
		check.Equal(t, state(t, g), "in-doubt", "state after MaxExecution")
	})
}
