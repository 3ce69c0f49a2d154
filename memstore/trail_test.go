package memstore

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

func history(t *testing.T, s *Store, q driver.HistoryQuery) []driver.Entry {
	t.Helper()
	page, _, err := s.History(t.Context(), q)
	check.NoError(t, err, "History")
	return page
}

func TestTrailIsBounded(t *testing.T) {
	s := open(t, &Options{Audit: driver.AuditTransitions, AuditEntries: 100})
	for n := range uint64(250) {
		acquire(t, s, numbered(n), claim(1), driver.Acquired)
	}
	all := history(t, s, driver.HistoryQuery{Limit: 1000})
	check.Equal(t, len(all), 100, "entries")
	check.Equal(t, all[0].ID, numbered(150), "the oldest one")
	check.Equal(t, all[99].ID, numbered(249), "the newest one")
	check.True(t, cap(s.trail.entries) <= 400, "there is room for %d", cap(s.trail.entries))
}

// A page that begins with what was dropped meanwhile begins with the oldest entry.
func TestTrailDropsBetweenPages(t *testing.T) {
	s := open(t, &Options{Audit: driver.AuditTransitions, AuditEntries: 10})
	for n := range uint64(10) {
		acquire(t, s, numbered(n), claim(1), driver.Acquired)
	}
	page, next, err := s.History(t.Context(), driver.HistoryQuery{Limit: 3})
	check.NoError(t, err, "History")
	check.Equal(t, page[2].ID, numbered(2), "the last one of a page")
	for n := range uint64(5) {
		acquire(t, s, numbered(10+n), claim(1), driver.Acquired)
	}
	page, _, err = s.History(t.Context(), driver.HistoryQuery{Cursor: next, Limit: 3})
	check.NoError(t, err, "History")
	check.Equal(t, page[0].ID, numbered(5), "the first one of the next page")
	_, _, err = s.History(t.Context(), driver.HistoryQuery{Cursor: "x"})
	check.True(t, err != nil, "a foreign cursor")
}

func TestTrailIsSweptAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, &Options{Audit: driver.AuditTransitions, AuditRetention: time.Hour})
		acquire(t, s, numbered(1), claim(1), driver.Acquired)
		time.Sleep(time.Hour - 1)
		check.Equal(t, len(history(t, s, driver.HistoryQuery{})), 1, "entries before the hour is over")
		time.Sleep(2 * time.Nanosecond)
		check.Equal(t, len(history(t, s, driver.HistoryQuery{})), 0, "entries after it")
		check.Equal(t, len(s.trail.entries), 1, "entries in memory")
		check.Equal(t, sweep(t, s, 1), 0, "records that were swept")
		check.Equal(t, len(s.trail.entries), 0, "entries in memory after a sweep")
	})
	synctest.Test(t, func(t *testing.T) {
		s := open(t, &Options{Audit: driver.AuditTransitions, AuditRetention: -1})
		acquire(t, s, numbered(1), claim(1), driver.Acquired)
		time.Sleep(100 * month)
		sweep(t, s, 1)
		check.Equal(t, len(history(t, s, driver.HistoryQuery{})), 1, "entries that are kept for ever")
	})
}

func TestNoTrailIsSaid(t *testing.T) {
	_, _, err := open(t, nil).History(t.Context(), driver.HistoryQuery{})
	check.ErrorIs(t, err, errors.ErrUnsupported, "History")
	check.True(t, strings.Contains(err.Error(), "Options.Audit"), "the error says nothing to do: %v", err)
}

// Keys of all shards write to one trail.
func TestTrailOfManyCallers(t *testing.T) {
	s := open(t, &Options{Audit: driver.AuditTransitions})
	var all sync.WaitGroup
	for worker := range uint64(8) {
		all.Go(func() {
			for n := range uint64(200) {
				id := numbered(worker<<32 | n)
				_, _ = s.Acquire(t.Context(), id, claim(1))
				_ = s.Complete(t.Context(), id, driver.Owner{1}, outcome("done"))
			}
		})
	}
	all.Wait()
	entries := history(t, s, driver.HistoryQuery{Limit: 10_000})
	check.Equal(t, len(entries), 8*200*2, "entries")
	for i := range entries[1:] {
		check.True(t, !entries[i+1].Time.Before(entries[i].Time), "entry %d is older than the one before", i+1)
	}
}
