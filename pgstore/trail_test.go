package pgstore

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

func partitions(t *testing.T, s *Store) []string {
	t.Helper()
	rows, err := s.pool.Query(bg, inSchema("SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"+
		" WHERE i.inhparent = 'onceward.trail'::regclass ORDER BY 1", s.schema))
	check.NoError(t, err, "partitions")
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	check.NoError(t, err, "partitions")
	return names
}

// Sweep makes the days to come and drops those that are over, and what is in none of them is deleted by row.
func TestPartitions(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, &Options{Audit: driver.AuditTransitions, AuditRetention: 10 * 24 * time.Hour})
	c := claim()
	pair(t, s, newID(), &c)
	old := time.Now().UTC().AddDate(0, 0, -12)
	kept := time.Now().UTC().AddDate(0, 0, -9)
	for _, day := range []time.Time{old, kept} {
		from := day.Truncate(24 * time.Hour)
		execute(t, s, "CREATE TABLE onceward.trail_"+from.Format(dayName)+" PARTITION OF onceward.trail FOR VALUES FROM ('"+
			from.Format(time.RFC3339)+"') TO ('"+from.AddDate(0, 0, 1).Format(time.RFC3339)+"')")
	}
	for _, days := range []int{9, 12, 30} { // the last of them is in no partition of its own
		execute(t, s, "INSERT INTO onceward.trail"+
			" (at, id, step, attempt, fence, kind, key_tag, operation, key_hint, actor, reason, trace_id, node)"+
			" SELECT at - $1 * interval '1 day', id, step, attempt, fence, kind, key_tag, operation, key_hint, actor, reason, trace_id, node"+
			" FROM onceward.trail WHERE at > now() - interval '1 day' LIMIT 1", days)
	}
	_, err := s.Sweep(bg, 1)
	check.NoError(t, err, "Sweep")
	var want []string
	for _, days := range []int{-9, 1, 2, 3} {
		want = append(want, "trail_"+time.Now().UTC().AddDate(0, 0, days).Format(dayName))
	}
	want = append(want, "trail_rest")
	check.Equal(t, partitions(t, s), want, "partitions")
	check.Equal(t, ask[int](t, s, "SELECT count(*) FROM onceward.trail"), 3, "entries")
	_, err = s.Sweep(bg, 1)
	check.NoError(t, err, "Sweep again")
	check.Equal(t, partitions(t, s), want, "partitions after another sweep")
}

// What writes entries at this moment is not kept from it for long, and does not keep Sweep from sweeping.
func TestPartitionsDoNotWait(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, &Options{Audit: driver.AuditTransitions})
	tx, err := s.pool.Begin(bg)
	check.NoError(t, err, "Begin")
	defer func() { _ = tx.Rollback(bg) }()
	_, err = tx.Exec(bg, inSchema("LOCK TABLE onceward.trail_rest IN ROW EXCLUSIVE MODE", s.schema))
	check.NoError(t, err, "writing")
	_, err = s.Sweep(bg, 1)
	check.NoError(t, err, "Sweep while an entry is written")
	check.Equal(t, partitions(t, s), []string{"trail_rest"}, "partitions")
	check.NoError(t, tx.Rollback(bg), "Rollback")
	_, err = s.Sweep(bg, 1)
	check.NoError(t, err, "Sweep")
	check.Equal(t, len(partitions(t, s)), 4, "partitions")
}

func TestTrailThatNobodyKeeps(t *testing.T) {
	url := testsvc.SharedPostgres(t).Database().URL
	off := openAt(t, url, nil)
	on := openAt(t, url, &Options{Schema: off.schema, Audit: driver.AuditTransitions})
	id, other, c := newID(), newID(), claim()
	pair(t, on, id, &c)
	pair(t, off, other, &c)
	page, _, err := off.History(bg, driver.HistoryQuery{ID: &id})
	check.NoError(t, err, "History of what others kept")
	check.Equal(t, len(page), 2, "entries")
	_, _, err = off.History(bg, driver.HistoryQuery{ID: &other})
	check.True(t, errors.Is(err, errors.ErrUnsupported) && strings.Contains(err.Error(), "Options.Audit"), "History without a trail: %v", err)
}

// Each question is answered by an index of its own.
func TestTrailIsIndexed(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, &Options{Audit: driver.AuditTransitions})
	id := newID()
	for index, q := range map[string]driver.HistoryQuery{
		"id": {ID: &id}, "key_tag": {KeyTag: &[8]byte{1}}, "operation": {Operation: "POST /payments"}, "pkey": {},
	} {
		statement, args, err := s.ask(&q)
		check.NoError(t, err, "asking")
		tx, err := s.pool.Begin(bg)
		check.NoError(t, err, "Begin")
		_, err = tx.Exec(bg, "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off")
		check.NoError(t, err, "settings")
		rows, err := tx.Query(bg, "EXPLAIN "+statement, args...)
		check.NoError(t, err, "EXPLAIN")
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		check.NoError(t, err, "EXPLAIN")
		_ = tx.Rollback(bg)
		uses := slices.ContainsFunc(plan, func(line string) bool { return strings.Contains(line, "Index Scan using trail_rest_"+index) })
		check.True(t, uses, "a question by %s is planned as\n%s", index, strings.Join(plan, "\n"))
	}
}

// A trail that has so many entries without a partition that making one takes long is left as it is for a while.
func TestPartitionsThatTakeLongAreLeft(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, &Options{Audit: driver.AuditTransitions})
	for _, step := range []struct {
		limit time.Duration
		ago   time.Duration // when it last took too long, if at all
		made  bool
	}{{limit: time.Millisecond}, {limit: time.Minute, ago: alterPause / 2}, {limit: time.Minute, ago: alterPause, made: true}} {
		s.alterTime = step.limit
		if step.ago > 0 {
			failed := s.alterFailed.Load().Add(-step.ago)
			s.alterFailed.Store(&failed)
		}
		_, err := s.Sweep(bg, 1)
		check.NoError(t, err, "Sweep")
		check.Equal(t, len(partitions(t, s)) > 1, step.made, "whether there are partitions")
	}
}

// The longest operation that a guard writes, of bytes that cannot be compressed, fits into the index.
func TestLongOperationsAreIndexed(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, &Options{Audit: driver.AuditTransitions})
	g := newShop(t, s).guard
	long := make([]byte, 3000)
	_, _ = rand.Read(long)
	_, err := onceward.Do(bg, g, onceward.Key{Scope: "s", Operation: string(long), Value: "k"}, "",
		func(context.Context) (string, error) { return "paid", nil })
	check.NoError(t, err, "Do")
}
