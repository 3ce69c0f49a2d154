package pgstore

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward/driver"
)

const (
	defaultListLimit = 100
	sweepStep        = 500 // rows that one statement looks at, so that none holds many locks for long
)

// Sweep implements [driver.Sweeper]. With an audit trail it also removes the entries that are over, and makes the partitions
// of the days to come.
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	for removed < limit {
		if err := ended(ctx); err != nil {
			return removed, err
		}
		step := min(sweepStep, limit-removed)
		var due, swept int
		// It is planned each time, for the size that the table has by then.
		if _, err := s.on.run(ctx, s.sql["sweep"], []any{&due, &swept}, pgx.QueryExecModeCacheDescribe, step); err != nil {
			return removed, err
		}
		removed += swept
		if due < step {
			break
		}
	}
	if s.audit != driver.AuditOff {
		err = s.tidyTrail(ctx)
	}
	return removed, err
}

// exec runs a statement and returns how many rows it met.
func (s *Store) exec(ctx context.Context, statement string, args ...any) (rows int, err error) {
	err = onPool{s.pool}.with(ctx, func(conn *pgx.Conn) error {
		tag, err := conn.Exec(ctx, statement, args...)
		rows = int(tag.RowsAffected())
		return err
	})
	return rows, err
}

// List implements [driver.Lister], in the order of ids. Records that cannot be read are left out and logged. An unknown state
// or a foreign cursor is an error.
func (s *Store) List(ctx context.Context, q driver.Query) (page []driver.Record, next string, err error) {
	if !slices.Contains([]string{"", "running", "in-doubt", "done"}, q.State) {
		return nil, "", fmt.Errorf("pgstore: no such state %q: use running, in-doubt or done", q.State)
	}
	after, err := hex.DecodeString(q.Cursor)
	if err != nil || len(after) != 0 && len(after) != len(driver.ID{}) {
		return nil, "", fmt.Errorf("pgstore: %q is not a cursor that List returned", q.Cursor)
	}
	if err := ended(ctx); err != nil {
		return nil, "", err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultListLimit
	}
	var tag []byte
	if q.KeyTag != nil {
		tag = q.KeyTag[:]
	}
	var seen int
	err = onPool{s.pool}.with(ctx, func(conn *pgx.Conn) error {
		page, next, seen = nil, "", 0
		rows, err := conn.Query(ctx, s.sql["list"], after, tag, []byte(q.Operation), q.State, limit+1)
		if err != nil {
			return err
		}
		var r row
		var id []byte
		_, err = pgx.ForEachRow(rows, append(r.dest(), &id), func() error {
			if seen++; seen > limit {
				return nil
			}
			next = hex.EncodeToString(id)
			page = s.listed(page, &r, driver.ID(id))
			return nil
		})
		return err
	})
	if seen <= limit {
		next = ""
	}
	return page, next, err
}

func (s *Store) listed(page []driver.Record, r *row, id driver.ID) []driver.Record {
	r.outcome, r.outcomeCheck = nil, digest(nil) // a list comes without it
	if err := r.readable(id); err != nil {
		s.log.Warn("pgstore: left out of a list", "id", id.Short(), "err", err)
		return page
	}
	return append(page, r.record(id))
}
