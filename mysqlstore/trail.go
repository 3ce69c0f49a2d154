package mysqlstore

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
)

// History implements [driver.Historian]. It reads what any process has kept. Without [Options].Audit and without any entry its
// error is [errors.ErrUnsupported].
func (s *Store) History(ctx context.Context, q driver.HistoryQuery) (page []driver.Entry, next string, err error) {
	if err := ended(ctx); err != nil {
		return nil, "", err
	}
	var after uint64
	if q.Cursor != "" {
		if after, err = strconv.ParseUint(q.Cursor, 10, 64); err != nil {
			return nil, "", fmt.Errorf("mysqlstore: %q is not a cursor that History returned", q.Cursor)
		}
	}
	if q.Limit <= 0 {
		q.Limit = defaultListLimit
	}
	c := s.asked(&q, after)
	rows, err := s.db.QueryContext(ctx, s.text["history"]+c.text.String()+"ORDER BY seq LIMIT ?", append(c.args, q.Limit+1)...)
	if err != nil {
		return nil, "", failure(err)
	}
	defer rows.Close()
	page, next, err = entries(rows, q.Limit)
	if err == nil && len(page) == 0 && q.Cursor == "" && s.audit == driver.AuditOff {
		err = fmt.Errorf("mysqlstore: no audit trail is kept: set Options.Audit: %w", errors.ErrUnsupported)
	}
	return page, next, err
}

func (s *Store) asked(q *driver.HistoryQuery, after uint64) (c conditions) {
	const epoch = "TIMESTAMP '1970-01-01 00:00:00' + INTERVAL ? MICROSECOND"
	c.args = []any{after}
	if s.audit != driver.AuditOff && s.auditRetention >= 0 { // without, what others keep is shown until they remove it
		c.and("at > UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND", micros(s.auditRetention))
	}
	if q.ID != nil {
		c.and("id = ?", q.ID[:])
	}
	if q.KeyTag != nil {
		c.and("key_tag = ?", q.KeyTag[:])
	}
	if q.Operation != "" {
		c.and("operation = ?", []byte(q.Operation))
	}
	if !q.Since.IsZero() {
		c.and("at >= "+epoch, roundedUp(q.Since))
	}
	if !q.Until.IsZero() {
		c.and("at < "+epoch, roundedUp(q.Until))
	}
	return c
}

// roundedUp is the first microsecond that is not before t.
func roundedUp(t time.Time) int64 { return t.Add(time.Microsecond - 1).UnixMicro() }

// entries reads a page, of which one more than it has room for shows that there are others.
func entries(rows *sql.Rows, limit int) (page []driver.Entry, next string, err error) {
	var last uint64
	for rows.Next() {
		if len(page) == limit {
			return page, strconv.FormatUint(last, 10), nil
		}
		var e driver.Entry
		var at int64
		var id, tag []byte
		var version, step, kind byte
		n := &e.Note
		if err := rows.Scan(&last, &at, &id, &version, &step, &e.Attempt, &e.Fence, &kind,
			&tag, &e.Operation, &e.KeyHint, &n.Actor, &n.Reason, &n.TraceID, &n.Node); err != nil {
			return nil, "", failure(err)
		}
		copy(e.ID[:], id)
		copy(e.KeyTag[:], tag)
		e.Time, e.Step, e.Kind = time.UnixMicro(at), driver.Step(step), driver.Kind(kind)
		if version != encoding || e.Step < driver.StepAcquired || e.Step > driver.StepForced {
			return nil, "", fmt.Errorf("%w: mysqlstore: an entry of the audit trail of id %s: its encoding is %d and its step %d",
				driver.ErrUndecodable, e.ID.Short(), version, step)
		}
		page = append(page, e)
	}
	return page, "", failure(rows.Err())
}

const (
	weeksAhead = 2
	forgetStep = 1000
	bound      = "before_20060102" // is the name of a partition: the day before which its entries are, by UTC
	mostCopied = 100_000           // entries without a partition that may be copied into one while everybody waits
)

// tidyTrail makes the partitions of the next weeks and removes what is over.
func (s *Store) tidyTrail(ctx context.Context) error {
	if !s.byRow.Load() {
		err := s.tidyPartitions(ctx)
		switch {
		case isForbidden(err):
			s.byRow.Store(true)
			s.log.Info("mysqlstore: "+noPartitions, "err", err)
		case err != nil:
			// The next sweep tries again. Until then there is the partition for the rest.
			s.log.Warn("mysqlstore: the partitions of the audit trail stay as they are", "err", err)
		}
	}
	if s.auditRetention < 0 {
		return nil
	}
	for {
		n, err := s.forget(ctx)
		if err != nil || n < forgetStep {
			return failure(err)
		}
	}
}

// forget deletes entries that are over and cannot be dropped, a few at a time. It looks without holding anything, because who
// looks for rows to delete waits for those whose transactions have written the next ones.
func (s *Store) forget(ctx context.Context) (found int, err error) {
	table := s.prefix + "trail"
	if !s.byRow.Load() {
		table += " PARTITION (rest)"
	}
	const over = " WHERE at <= UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND "
	retain := micros(s.auditRetention)
	entries, err := column[int64](ctx, s.db, "SELECT seq FROM "+table+over+"ORDER BY at LIMIT ?", retain, forgetStep)
	if err != nil || len(entries) == 0 {
		return 0, err
	}
	remove := "DELETE FROM " + table + over + "AND seq IN " + places(len(entries)) //nolint:gosec // names and places are ours
	_, err = s.db.ExecContext(ctx, remove, append([]any{retain}, entries...)...)
	return len(entries), err
}

const noPartitions = "the account may not ALTER, CREATE and DROP on the table of the audit trail: entries are deleted row by row"

func isForbidden(err error) bool {
	switch number(err) {
	case 1044, 1142, 1227:
		return true
	default:
		return false
	}
}

// tidyPartitions changes the partitions, if there is anything to change and nobody else does it at this moment.
func (s *Store) tidyPartitions(ctx context.Context) error {
	now, err := s.Clock(ctx)
	if err != nil {
		return err
	}
	there, rest, err := s.partitions(ctx)
	if err != nil {
		return err
	}
	changes := s.changes(now.UTC(), there, rest)
	if len(changes) == 0 {
		return nil
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	// What is set on it would change the statements of others.
	defer func() { _ = conn.Raw(func(any) error { return sqldriver.ErrBadConn }) }()
	var alone sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK(CONCAT('onceward ', SHA1(CONCAT(DATABASE(), '.', ?, ' trail'))), 0)", s.prefix).
		Scan(&alone); err != nil || alone.Int64 != 1 {
		return err
	}
	// While it waits for transactions that have written entries, nobody else can begin to, so it must not wait for long.
	if _, err := conn.ExecContext(ctx, "SET SESSION lock_wait_timeout = 1"); err != nil {
		return err
	}
	for _, change := range changes {
		if _, err := conn.ExecContext(ctx, change); err != nil {
			return err
		}
	}
	return nil
}

// partitions are the names of those with a bound, in order, and how many entries are about in the one without.
func (s *Store) partitions(ctx context.Context) (there []string, rest int64, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT PARTITION_NAME, TABLE_ROWS FROM information_schema.PARTITIONS
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND PARTITION_NAME IS NOT NULL`, s.prefix+"trail")
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var entries int64
		if err := rows.Scan(&name, &entries); err != nil {
			return nil, 0, err
		}
		if name == "rest" {
			rest = entries
		} else {
			there = append(there, name)
		}
	}
	slices.Sort(there)
	return there, rest, rows.Err()
}

// changes are the statements that drop what is over and make what is missing.
func (s *Store) changes(now time.Time, there []string, rest int64) (all []string) {
	table := s.prefix + "trail"
	newest := ""
	for _, name := range there {
		newest = name
		until, err := time.Parse(bound, name)
		if err == nil && s.auditRetention >= 0 && !until.After(now.Add(-s.auditRetention)) {
			all = append(all, "ALTER TABLE "+table+" DROP PARTITION "+name)
		}
	}
	if rest > mostCopied {
		return all
	}
	var missing []string
	monday := now.Truncate(7*24*time.Hour).AddDate(0, 0, 7) // the year 1 begins with one
	for ahead := range weeksAhead + 1 {
		until := monday.AddDate(0, 0, 7*ahead)
		if name := until.Format(bound); name > newest {
			missing = append(missing, fmt.Sprintf("PARTITION %s VALUES LESS THAN ('%s')", name, until.Format(time.DateOnly)))
		}
	}
	if len(missing) > 0 {
		all = append(all, "ALTER TABLE "+table+" REORGANIZE PARTITION rest INTO ("+strings.Join(missing, ", ")+
			", PARTITION rest VALUES LESS THAN (MAXVALUE))")
	}
	return all
}
