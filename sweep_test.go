package onceward_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

func TestExpiredRecordsAreSweptInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen steps
		store := memstore.New(nil)
		g := newGuard(t, store, &onceward.Options{SweepBatch: 10, Trace: seen.trace})
		fill := func(n int, retention time.Duration) {
			for range n {
				key := payment
				key.Value = onceward.NewKey("")
				a, err := g.Begin(context.Background(), key, &onceward.Policy{Retention: retention}, amount)
				check.NoError(t, err, "Begin")
				check.NoError(t, a.Complete(nil), "Complete")
			}
		}
		fill(25, time.Hour)
		fill(7, 48*time.Hour)
		time.Sleep(time.Hour + 90*time.Second) // one sweep after the hour, or two
		records, _, err := store.List(context.Background(), driver.Query{})
		check.NoError(t, err, "List")
		check.Equal(t, len(records), 7+1, "records left, with the identity record")
		closeGuard(t, g)
		var removed int
		for _, tr := range seen.traces {
			if tr.Step == "swept" {
				check.True(t, tr.Count <= 10, "a batch of %d", tr.Count)
				removed += tr.Count
			}
		}
		check.Equal(t, removed, 25, "records removed")
	})
}

// failing is a store whose sweeps fail.
type failing struct {
	driver.Store
	sweeps atomic.Int32
}

func (f *failing) Sweep(context.Context, int) (int, error) {
	f.sweeps.Add(1)
	return 1_000, driver.ErrUnavailable // a full batch, so that there may be more
}

func TestASweepThatFailsIsTracedAndTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen steps
		store := &failing{Store: memstore.New(nil)}
		g := newGuard(t, store, &onceward.Options{Trace: seen.trace})
		time.Sleep(10 * time.Minute)
		closeGuard(t, g)
		check.True(t, store.sweeps.Load() >= 8, "%d sweeps in ten minutes", store.sweeps.Load())
		check.Equal(t, seen.count("swept"), int(store.sweeps.Load()), "traces")
		check.ErrorIs(t, seen.traces[len(seen.traces)-1].Err, driver.ErrUnavailable, "trace's error")
		check.NoError(t, begin(t, newGuard(t, store, nil), nil).Complete(nil), "a failing sweep must not stop the rest")
	})
}
