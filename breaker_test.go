package onceward_test

import (
	"context"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/storetest"
)

func TestTheBreakerOpensProbesAndCloses(t *testing.T) {
	var seen steps
	faulty(t, onceward.Options{Trace: seen.trace}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		f.Always(storetest.VerbAcquire, storetest.Refuse)
		before := f.Calls(storetest.VerbAcquire)
		for range 100 {
			refused(t, g, onceward.ErrUnavailable)
		}
		check.Equal(t, f.Calls(storetest.VerbAcquire)-before, 5, "calls of a store that is down")
		time.Sleep(time.Second)
		for range 100 {
			refused(t, g, onceward.ErrUnavailable)
		}
		check.Equal(t, f.Calls(storetest.VerbAcquire)-before, 6, "calls with one probe")
		f.Always(storetest.VerbAcquire, storetest.Fault{})
		time.Sleep(time.Second)
		check.NoError(t, begin(t, g, nil).Complete(nil), "Complete after the pause")
		check.Equal(t, seen.count("breaker-open"), 1, "openings")
		check.Equal(t, seen.count("breaker-closed"), 1, "closings")
	})
}

// What ends an attempt always reaches the store, and its success closes the breaker.
func TestTheBreakerNeverStandsBeforeAnEnd(t *testing.T) {
	faulty(t, onceward.Options{BreakerPause: time.Hour}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		f.Always(storetest.VerbGet, storetest.Refuse)
		for range 10 {
			_, err := g.Lookup(context.Background(), payment)
			check.ErrorIs(t, err, onceward.ErrUnavailable, "Lookup")
		}
		refused(t, g, onceward.ErrUnavailable) // the breaker is open
		check.NoError(t, a.Complete([]byte("paid")), "Complete behind an open breaker")
		replayed(t, g, "paid")
	})
}

func TestRefusalsAndCallersWhoLeftAreNoFailures(t *testing.T) {
	faulty(t, onceward.Options{BreakerFailures: 2}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		for range 10 {
			refused(t, g, onceward.ErrInProgress)
			_, err := g.Begin(context.Background(), payment, nil, other)
			check.ErrorIs(t, err, onceward.ErrKeyReused, "Begin")
		}
		for range 10 {
			f.Next(storetest.VerbAcquire, storetest.Delay(time.Hour))
			ctx, leave := context.WithTimeout(context.Background(), time.Millisecond)
			_, err := g.Begin(ctx, payment, nil, amount)
			leave()
			check.ErrorIs(t, err, onceward.ErrUnavailable, "Begin of a caller who left")
		}
		check.NoError(t, a.Complete([]byte("paid")), "Complete")
		replayed(t, g, "paid")
	})
}

// A store that is full refuses new keys; that is no reason to keep replays away from it.
func TestAFullStoreDoesNotOpenTheBreaker(t *testing.T) {
	g := newGuard(t, memstore.New(&memstore.Options{MaxRecords: 2}), nil) // the identity record is one
	check.NoError(t, begin(t, g, nil).Complete([]byte("paid")), "Complete")
	for range 20 {
		key := payment
		key.Value = onceward.NewKey("")
		_, err := g.Begin(context.Background(), key, nil, amount)
		check.ErrorIs(t, err, onceward.ErrUnavailable, "Begin of a new key")
	}
	replayed(t, g, "paid")
}

func TestFailuresInBetweenDoNotOpenTheBreaker(t *testing.T) {
	var seen steps
	faulty(t, onceward.Options{Trace: seen.trace}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		for range 20 {
			f.Next(storetest.VerbAcquire, storetest.Refuse)
			refused(t, g, onceward.ErrUnavailable)
			check.NoError(t, begin(t, g, nil).Release("next"), "Release")
		}
		check.Equal(t, seen.count("breaker-open"), 0, "openings")
	})
}

func TestOneProbeAtATime(t *testing.T) {
	faulty(t, onceward.Options{BreakerFailures: 1}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		f.Next(storetest.VerbAcquire, storetest.Refuse)
		refused(t, g, onceward.ErrUnavailable)
		time.Sleep(time.Second)
		gate := f.Hold(storetest.VerbAcquire)
		probe := make(chan *onceward.Attempt)
		go func() { probe <- begin(t, g, nil) }()
		<-gate.Arrived()
		calls := f.Calls(storetest.VerbAcquire)
		for range 10 {
			refused(t, g, onceward.ErrUnavailable)
		}
		check.Equal(t, f.Calls(storetest.VerbAcquire), calls, "calls while the probe is out")
		gate.Open()
		check.NoError(t, (<-probe).Complete(nil), "Complete of the probe")
	})
}
