package memstore

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// checkFull expects that a new key is refused by the limit that option names, and that the refusal leaves no trace.
func checkFull(t *testing.T, s *Store, option string) {
	t.Helper()
	records, size := s.records.Load(), s.bytes.Load()
	_, err := s.Acquire(t.Context(), numbered(1<<40), claim(1))
	check.ErrorIs(t, err, driver.ErrFull, "a new key for a full store")
	check.True(t, strings.Contains(err.Error(), "Options."+option), "the error names no %s: %v", option, err)
	check.Equal(t, s.records.Load(), records, "records after the refusal")
	check.Equal(t, s.bytes.Load(), size, "bytes after the refusal")
}

func TestFullStoreServesItsOwnKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, &Options{MaxRecords: 5})
		for n := range uint64(5) {
			acquire(t, s, numbered(n), claim(1), driver.Acquired)
		}
		checkFull(t, s, "MaxRecords")

		mine := claim(1).Owner
		check.NoError(t, s.Extend(t.Context(), numbered(0), mine, driver.Extension{Lease: time.Hour}), "Extend")
		check.NoError(t, s.Complete(t.Context(), numbered(1), mine, outcome("a")), "Complete")
		check.NoError(t, s.Release(t.Context(), numbered(2), mine, driver.Note{}), "Release")
		check.NoError(t, s.Extend(t.Context(), numbered(3), mine, driver.Extension{}), "giving up")
		check.NoError(t, s.Resolve(t.Context(), numbered(3), driver.Resolution{Fence: 1}), "Resolve to absent")
		out := outcome("b")
		check.NoError(t, s.Resolve(t.Context(), numbered(4), driver.Resolution{Fence: 1, Outcome: &out, Force: true}), "Resolve")
		checkFull(t, s, "MaxRecords") // what was released still takes a record, for its residue

		acquire(t, s, numbered(2), claim(2), driver.Acquired) // a known key needs no room
		check.Equal(t, sweep(t, s, 10), 0, "live records swept")
		acquire(t, s, numbered(1), claim(2), driver.Done)
	})
}

func TestFullStoreMakesRoomByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, &Options{MaxRecords: 3})
		for n := range uint64(3) {
			acquire(t, s, numbered(n), claim(1), driver.Acquired)
		}
		check.NoError(t, s.Complete(t.Context(), numbered(1), claim(1).Owner, outcome("a")), "Complete")
		time.Sleep(24*time.Hour - 1)
		checkFull(t, s, "MaxRecords")
		time.Sleep(time.Nanosecond)
		acquire(t, s, numbered(9), claim(1), driver.Acquired)
		checkFull(t, s, "MaxRecords")
	})
}

func TestResidueOfUnknownKeyNeedsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, &Options{MaxRecords: 1})
		late, next := claim(1), claim(2)
		check.NoError(t, s.Release(t.Context(), numbered(0), late.Owner, driver.Note{}), "Release of nothing")
		check.ErrorIs(t, s.Release(t.Context(), numbered(1), late.Owner, driver.Note{}), driver.ErrFull,
			"a second residue in a store for one record")
		acquire(t, s, numbered(0), late, driver.Lost)
		time.Sleep(driver.MinResidue)
		check.NoError(t, s.Release(t.Context(), numbered(1), late.Owner, driver.Note{}), "Release once there is room")
		acquire(t, s, numbered(1), late, driver.Lost)
		acquire(t, s, numbered(1), next, driver.Acquired)
	})
}

func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, &Options{MaxBytes: 10_000})
		acquire(t, s, numbered(0), claim(1), driver.Acquired)
		large := outcome(strings.Repeat("x", 20_000))
		check.NoError(t, s.Complete(t.Context(), numbered(0), claim(1).Owner, large), "Complete beyond MaxBytes")
		checkFull(t, s, "MaxBytes")
		time.Sleep(24 * time.Hour)
		acquire(t, s, numbered(1), claim(1), driver.Acquired)
		check.True(t, s.bytes.Load() < 2000, "%d bytes are counted when the large answer is gone", s.bytes.Load())
	})
}

func TestNegativeLimitsLeaveNoRoom(t *testing.T) {
	checkFull(t, open(t, &Options{MaxRecords: -1}), "MaxRecords")
	checkFull(t, open(t, &Options{MaxBytes: -1}), "MaxBytes")
}

func TestLimitHoldsUnderConcurrency(t *testing.T) {
	const limit, callers = 100, 8
	s := open(t, &Options{MaxRecords: limit})
	var acquired atomic.Int64
	var wg sync.WaitGroup
	for caller := range uint64(callers) {
		wg.Go(func() {
			for n := range uint64(limit) {
				if g, err := s.Acquire(t.Context(), numbered(caller<<32|n), claim(1)); err == nil && g.Verdict == driver.Acquired {
					acquired.Add(1)
				}
			}
		})
	}
	wg.Wait()
	check.Equal(t, acquired.Load(), limit, "keys acquired by %d callers", callers)
}

func TestEndedContextDoesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, nil)
		before := acquire(t, s, numbered(0), claim(1), driver.Acquired)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		mine := claim(1).Owner
		_, err := s.Acquire(ctx, numbered(1), claim(1))
		check.ErrorIs(t, err, context.Canceled, "Acquire")
		check.ErrorIs(t, s.Extend(ctx, numbered(0), mine, driver.Extension{}), context.Canceled, "Extend")
		check.ErrorIs(t, s.Complete(ctx, numbered(0), mine, outcome("a")), context.Canceled, "Complete")
		check.ErrorIs(t, s.Release(ctx, numbered(0), mine, driver.Note{}), context.Canceled, "Release")
		check.ErrorIs(t, s.Resolve(ctx, numbered(0), driver.Resolution{Fence: 1, Force: true}), context.Canceled, "Resolve")
		_, err = s.Get(ctx, numbered(0))
		check.ErrorIs(t, err, context.Canceled, "Get")
		_, _, err = s.List(ctx, driver.Query{})
		check.ErrorIs(t, err, context.Canceled, "List")
		_, err = s.Sweep(ctx, 1)
		check.ErrorIs(t, err, context.Canceled, "Sweep")

		after, err := s.Get(t.Context(), numbered(0))
		check.NoError(t, err, "Get")
		check.Equal(t, after, before, "the record afterwards")
		check.Equal(t, s.records.Load(), 1, "records afterwards")
	})
}
