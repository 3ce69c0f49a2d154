package metrics

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/internal/check"
)

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
