package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceward/onceward/driver"
)

// History implements [driver.Historian]. It reads what any process has kept. Without [Options].Audit and without any entry its
// error is [errors.ErrUnsupported].
func (s *Store) History(ctx context.Context, q driver.HistoryQuery) (page []driver.Entry, next string, err error) {
	if err := ended(ctx); err != nil {
		return nil, "", err
	}
	statement, args, err := s.ask(&q)
	if err != nil {
		return nil, "", err
	}
	var last int64
	err = onPool{s.pool}.with(ctx, func(conn *pgx.Conn) error {
		page, next = nil, ""
		rows, err := conn.Query(ctx, statement, args...)
		if err != nil {
			return err
		}
		var e entry
		_, err = pgx.ForEachRow(rows, e.dest(), func() error {
			if len(page) == q.Limit {
				next = strconv.FormatInt(last, 10)
				return nil
			}
			last = e.seq
			page = append(page, e.entry())
			return nil
		})
		return err
	})
	if err == nil && len(page) == 0 && q.Cursor == "" && s.audit == driver.AuditOff {
		err = fmt.Errorf("pgstore: no audit trail is kept: set Options.Audit: %w", errors.ErrUnsupported)
	}
	return page, next, err
}

// ask is the statement for a query, with one entry more than the page has. It sets the limit of q.
func (s *Store) ask(q *driver.HistoryQuery) (statement string, args []any, err error) {
	var after int64
	if q.Cursor != "" {
		if after, err = strconv.ParseInt(q.Cursor, 10, 64); err != nil {
			return "", nil, fmt.Errorf("pgstore: %q is not a cursor that History returned", q.Cursor)
		}
	}
	if q.Limit <= 0 {
		q.Limit = defaultListLimit
	}
	kept := int64(-1) // what others keep is shown until they remove it
	if s.audit != driver.AuditOff && s.retain >= 0 {
		kept = micros(s.retain)
	}
	args = []any{after, kept}
	text := strings.Builder{}
	text.WriteString(s.sql["history"])
	where := func(condition string, arg any) {
		args = append(args, arg)
		fmt.Fprintf(&text, "\tAND %s $%d\n", condition, len(args))
	}
	if q.ID != nil {
		where("id =", q.ID[:])
	}
	if q.KeyTag != nil {
		where("key_tag =", q.KeyTag[:])
	}
	if q.Operation != "" {
		where("operation =", []byte(q.Operation))
	}
	if !q.Since.IsZero() {
		where("at >=", roundedUp(q.Since))
	}
	if !q.Until.IsZero() {
		where("at <", roundedUp(q.Until))
	}
	args = append(args, q.Limit+1)
	fmt.Fprintf(&text, "ORDER BY seq\nLIMIT $%d", len(args))
	return text.String(), args, nil
}

// roundedUp is the first microsecond that is not before t.
func roundedUp(t time.Time) time.Time {
	return t.Add(time.Microsecond - 1).Truncate(time.Microsecond)
}

// entry is a row of the trail.
type entry struct {
	seq, step, attempt, fence, kind  int64
	at                               time.Time
	id, keyTag, operation, keyHint   []byte
	actor, reason, traceID, nodeName []byte
}

func (e *entry) dest() []any {
	return []any{
		&e.seq, &e.at, &e.id, &e.step, &e.attempt, &e.fence, &e.kind,
		&e.keyTag, &e.operation, &e.keyHint, &e.actor, &e.reason, &e.traceID, &e.nodeName,
	}
}

func (e *entry) entry() driver.Entry {
	v := driver.Entry{
		Time: e.at, Step: driver.Step(e.step), Attempt: int(e.attempt), Fence: uint64(e.fence), Kind: driver.Kind(e.kind),
		Operation: string(e.operation), KeyHint: string(e.keyHint),
		Note: driver.Note{Actor: string(e.actor), Reason: string(e.reason), TraceID: string(e.traceID), Node: string(e.nodeName)},
	}
	copy(v.ID[:], e.id)
	copy(v.KeyTag[:], e.keyTag)
	return v
}

const (
	daysAhead  = 3
	forgetStep = 1000
	dayName    = "20060102"
	// Whoever makes a partition reads all entries that are in none, and meanwhile nobody can write one. If that takes too long it is
	// not tried again for a while.
	alterTime  = 500 * time.Millisecond
	alterPause = time.Hour
)

// tidyTrail makes the partitions of the next days and removes what is over. A partition that cannot be made now is made by the
// next sweep, and until then there is the one that takes the rest.
func (s *Store) tidyTrail(ctx context.Context) error {
	var now time.Time
	var text string
	if _, err := s.on.run(ctx, s.sql["partitions"], []any{&now, &text}); err != nil {
		return err
	}
	forget := s.sql["forget"]
	if s.ownsTrail {
		there := strings.Split(text, ",")
		if ddl := s.partitions(now.UTC(), there); ddl != "" {
			s.alter(ctx, ddl)
		}
		forget = s.sql["forget_rest"] // the others are dropped as a whole
	}
	if s.retain < 0 {
		return nil
	}
	for {
		n, err := s.exec(ctx, forget, micros(s.retain), forgetStep)
		if err != nil || n < forgetStep {
			return err
		}
	}
}

// partitions are the statements that make what is missing and drop what is over.
func (s *Store) partitions(now time.Time, there []string) string {
	var ddl strings.Builder
	today := now.Truncate(24 * time.Hour)
	for ahead := 1; ahead <= daysAhead; ahead++ { // today's entries may be among the rest already
		day := today.AddDate(0, 0, ahead)
		if name := "trail_" + day.Format(dayName); !slices.Contains(there, name) {
			fmt.Fprintf(&ddl, "CREATE TABLE IF NOT EXISTS onceward.%s PARTITION OF onceward.trail FOR VALUES FROM ('%s') TO ('%s');\n",
				name, day.Format(time.RFC3339), day.AddDate(0, 0, 1).Format(time.RFC3339))
		}
	}
	for _, name := range there {
		day, err := time.Parse("trail_"+dayName, name)
		if err == nil && s.retain >= 0 && !day.AddDate(0, 0, 1).After(now.Add(-s.retain)) {
			fmt.Fprintf(&ddl, "DROP TABLE IF EXISTS onceward.%s;\n", name)
		}
	}
	return inSchema(ddl.String(), s.schema)
}

// alter changes the partitions, if nobody else does at this moment. Entries cannot be written while it waits for those who
// are at work, so it does not wait for long.
func (s *Store) alter(ctx context.Context, ddl string) {
	if last := s.alterFailed.Load(); last != nil && time.Since(*last) < alterPause {
		return
	}
	err := onPool{s.pool}.with(ctx, func(conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			var alone bool
			err := tx.QueryRow(ctx, "SELECT pg_try_advisory_xact_lock(hashtextextended($1, 0))", "onceward trail "+s.schema).Scan(&alone)
			if err != nil || !alone {
				return err
			}
			limits := fmt.Sprintf("SET LOCAL lock_timeout = 100; SET LOCAL statement_timeout = %d", s.alterTime.Milliseconds())
			if _, err := tx.Exec(ctx, limits); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, ddl)
			return err
		})
	})
	if err == nil {
		return
	}
	s.log.Warn("pgstore: the partitions of the audit trail stay as they are", "err", err)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "57014" { // it took too long
		now := time.Now()
		s.alterFailed.Store(&now)
	}
}
