package metrics

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

func TestRecordsAreCountedByState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		guard, err := onceward.New(store, nil)
		check.NoError(t, err, "guard")
		begin := func(value string) *onceward.Attempt {
			key := onceward.Key{Scope: "s", Operation: "o", Value: value}
			a, err := guard.Begin(t.Context(), key, nil, onceward.Fingerprint{Algorithm: "x", Sum: "y"})
			check.NoError(t, err, "Begin")
			return a
		}
		check.NoError(t, begin("doubt").Doubt("timeout"), "Doubt")
		time.Sleep(10 * time.Second)
		check.NoError(t, begin("younger").Doubt("timeout"), "Doubt")
		check.NoError(t, begin("done").Complete(nil), "Complete")
		running := begin("running")
		time.Sleep(time.Second)

		lister, ok := driver.As[driver.Lister](store)
		check.True(t, ok, "the store cannot list")
		got, err := Count(t.Context(), lister)
		check.NoError(t, err, "Count")
		// The guard keeps a done record of its own, with the rules of identity.
		check.Equal(t, got, Counts{Running: 1, InDoubt: 2, Done: 2, OldestDoubt: 11 * time.Second}, "counts")
		check.NoError(t, running.Release("the end"), "Release")
		check.NoError(t, guard.Close(context.Background()), "Close")
	})
}

// pages is a lister of three records, one on each page.
type pages struct{ asked []string }

func (p *pages) List(_ context.Context, q driver.Query) ([]driver.Record, string, error) {
	p.asked = append(p.asked, q.Cursor)
	next := map[string]string{"": "2", "2": "3", "3": ""}[q.Cursor]
	return []driver.Record{{Phase: driver.PhaseDone}}, next, nil
}

func TestAllPagesAreCounted(t *testing.T) {
	var p pages
	got, err := Count(t.Context(), &p)
	check.NoError(t, err, "Count")
	check.Equal(t, got, Counts{Done: 3}, "counts")
	check.Equal(t, p.asked, []string{"", "2", "3"}, "pages")
}

func TestRecordsAreRefreshedInTheBackground(t *testing.T) {
	m := New()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var calls atomic.Int64
		go m.WatchRecords(ctx, 0, func(context.Context) (Counts, error) {
			n := int(calls.Add(1))
			if n == 2 {
				return Counts{}, errors.New("the store is down")
			}
			return Counts{Running: n, InDoubt: 10 * n, Done: 100 * n, OldestDoubt: time.Duration(n) * time.Hour}, nil
		})
		synctest.Wait()
		counts, first := m.records.last()
		check.Equal(t, counts.InDoubt, 10, "counted at once")
		time.Sleep(time.Minute)
		synctest.Wait()
		check.Equal(t, calls.Load(), int64(2), "counts after a minute")
		counts, at := m.records.last()
		check.Equal(t, counts.InDoubt, 10, "a failed count changes nothing")
		check.Equal(t, at, first, "time of the last count")
		time.Sleep(time.Minute)
		synctest.Wait()
		check.Equal(t, calls.Load(), int64(3), "counts after two minutes")
		stop()
		time.Sleep(time.Hour)
		check.Equal(t, calls.Load(), int64(3), "counts after the end")
	})
	text := exposition(t, m)
	for series, want := range map[string]float64{
		`onceward_records{state="running"}`: 3, `onceward_records{state="in-doubt"}`: 30, `onceward_records{state="done"}`: 300,
		`onceward_oldest_doubt_age_seconds`: 3 * 3600, `onceward_records_counts_total{result="ok"}`: 2,
		`onceward_records_counts_total{result="failed"}`: 1,
	} {
		check.Equal(t, value(t, text, series), want, "%s", series)
	}
}

func TestNothingIsShownBeforeTheFirstCount(t *testing.T) {
	text := exposition(t, New())
	check.True(t, !strings.Contains(text, "onceward_records{"), "records are shown that nobody counted:\n%s", text)
	check.True(t, !strings.Contains(text, "onceward_oldest_doubt_age_seconds"), "an age is shown that nobody measured")
}
