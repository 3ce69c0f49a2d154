package mysqlstore

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

func (s *Store) partitionNames(t *testing.T) string {
	t.Helper()
	names, _, err := s.partitions(bg)
	check.NoError(t, err, "partitions")
	return strings.Join(names, " ")
}

// Sweep makes the weeks to come and drops those that are over.
func TestPartitions(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, &Options{Audit: driver.AuditTransitions, AuditRetention: 10 * 24 * time.Hour})
	now := time.Now().UTC()
	monday := now.Truncate(7*24*time.Hour).AddDate(0, 0, 7)
	check.Equal(t, monday.Weekday(), time.Monday, "the day on which weeks begin")
	weeks := monday.Format(bound) + " " + monday.AddDate(0, 0, 7).Format(bound) + " " + monday.AddDate(0, 0, 14).Format(bound)
	check.Equal(t, s.partitionNames(t), weeks, "partitions of a new store")

	execute(t, s, "ALTER TABLE onceward_trail REORGANIZE PARTITION "+monday.Format(bound)+" INTO ("+
		"PARTITION before_20200106 VALUES LESS THAN ('2020-01-06'), "+
		"PARTITION "+monday.Format(bound)+" VALUES LESS THAN ('"+monday.Format(time.DateOnly)+"'))")
	id, c := newID(), claim()
	pair(t, s, id, &c)
	execute(t, s, "UPDATE onceward_trail SET at = '2020-01-01' ORDER BY seq LIMIT 1")
	page, _, err := s.History(bg, driver.HistoryQuery{ID: &id})
	check.NoError(t, err, "History")
	check.Equal(t, len(page), 1, "entries that are not over")
	for range 2 {
		_, err = s.Sweep(bg, 1)
		check.NoError(t, err, "Sweep")
		check.Equal(t, s.partitionNames(t), weeks, "partitions after a sweep")
		check.Equal(t, ask[int](t, s, "SELECT COUNT(*) FROM onceward_trail"), 1, "entries that are kept")
	}
	check.Equal(t, ask[int](t, s, "SELECT COUNT(*) FROM onceward_trail PARTITION (rest)"), 0, "entries without a week")

	later := s.changes(now.AddDate(0, 0, 7), strings.Fields(weeks), 0)
	check.True(t, len(later) == 1 && strings.Contains(later[0], monday.AddDate(0, 0, 21).Format(bound)), "a week later: %q", later)
	check.Equal(t, len(s.changes(now.AddDate(0, 0, 7), strings.Fields(weeks), mostCopied+1)), 0, "changes that would copy much")
}

// A transaction that has written an entry keeps the partitions from being changed, and Sweep from nothing else.
func TestPartitionsDoNotWait(t *testing.T) {
	var log bytes.Buffer
	url := testsvc.SharedMariaDB(t).URL
	s := openAt(t, url, nil)
	s = openAt(t, url, &Options{Prefix: s.prefix, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s.audit = driver.AuditTransitions
	check.NoError(t, s.prepare(bg), "preparing")
	tx, err := s.db.BeginTx(bg, nil)
	check.NoError(t, err, "a transaction")
	acquire(t, s.Tx(tx), newID(), claim(), driver.Acquired)
	start := time.Now()
	_, err = s.Sweep(bg, 1)
	check.NoError(t, err, "Sweep while an entry is written")
	check.True(t, time.Since(start) < 20*time.Second, "Sweep took %v", time.Since(start))
	check.Equal(t, s.partitionNames(t), "", "partitions")
	check.True(t, strings.Contains(log.String(), "stay as they are"), "the log: %s", log.String())
	check.NoError(t, tx.Commit(), "Commit")
	_, err = s.Sweep(bg, 1)
	check.NoError(t, err, "Sweep")
	check.Equal(t, len(strings.Fields(s.partitionNames(t))), 3, "partitions")
	check.Equal(t, ask[int](t, s, "SELECT COUNT(*) FROM onceward_trail"), 1, "entries")
}

func TestTrailThatNobodyKeeps(t *testing.T) {
	url := testsvc.SharedMariaDB(t).URL
	off := openAt(t, url, nil)
	on := openAt(t, url, &Options{Prefix: off.prefix, Audit: driver.AuditTransitions})
	id, other, c := newID(), newID(), claim()
	pair(t, on, id, &c)
	pair(t, off, other, &c)
	page, _, err := off.History(bg, driver.HistoryQuery{ID: &id})
	check.NoError(t, err, "History of what others kept")
	check.Equal(t, len(page), 2, "entries")
	_, _, err = off.History(bg, driver.HistoryQuery{ID: &other})
	check.True(t, errors.Is(err, errors.ErrUnsupported) && strings.Contains(err.Error(), "Options.Audit"), "History without a trail: %v", err)
	execute(t, on, "UPDATE onceward_trail SET version = 9")
	_, _, err = on.History(bg, driver.HistoryQuery{ID: &id})
	check.ErrorIs(t, err, driver.ErrUndecodable, "History of a later version")
}
