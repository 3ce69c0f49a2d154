package mysqlstore

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/onceward/onceward/driver"
)

const (
	defaultListLimit = 100
	sweepStep        = 200 // rows that one statement removes, so that none holds many for long
)

// Sweep implements [driver.Sweeper]. What others hold it leaves to a later one. With an audit trail it also removes the entries
// that are over, and makes the partitions of the weeks to come.
func (s *Store) Sweep(ctx context.Context, limit int) (removed int, err error) {
	held := 0 // by others, and first in order as long as they are
	for removed < limit {
		if err := ended(ctx); err != nil {
			return removed, err
		}
		step := min(sweepStep, limit-removed)
		// This holds nothing. Who deletes by the index of expires_at holds its entries before the rows, the opposite of what
		// every other statement does, and deadlocks with some of them.
		ids, err := column[[]byte](ctx, s.db, s.text["expired"], step, held)
		if err != nil {
			return removed, failure(err)
		}
		n, err := s.remove(ctx, ids)
		removed += n
		held += len(ids) - n
		if err != nil {
			return removed, failure(err)
		}
		if len(ids) < step {
			break
		}
	}
	if s.audit != driver.AuditOff {
		err = s.tidyTrail(ctx)
	}
	return removed, err
}

// column is the values of a query for one, to a pool or in a transaction.
func column[T any](ctx context.Context, to interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, query string, args ...any,
) (values []any, err error) {
	rows, err := to.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}

// remove deletes those that are still over, and that nobody holds: while it waited for one it would keep the others from those
// who ask for them, also when its own caller has left.
//
// The ids to delete are a table that is joined, because with a list of them MariaDB reads a small table from end to end, also
// when it is told not to, and waits for rows that are none of them.
func (s *Store) remove(ctx context.Context, ids []any) (removed int, err error) {
	if len(ids) == 0 {
		return 0, nil
	}
	err = s.inTx(ctx, func(v verbs) error {
		removed = 0
		idle, err := column[[]byte](ctx, v.tx, s.text["idle"]+places(len(ids))+" FOR UPDATE SKIP LOCKED", ids...)
		if err != nil || len(idle) == 0 {
			return err
		}
		these := strings.Repeat("SELECT CAST(? AS BINARY(32)) AS id UNION ALL ", len(idle))
		sweep := strings.Replace(s.text["sweep"], "/*ids*/", strings.TrimSuffix(these, " UNION ALL "), 1)
		result, err := v.tx.ExecContext(ctx, sweep, idle...)
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		removed = int(n)
		return err
	})
	if err != nil {
		return 0, err
	}
	return removed, nil
}

// places is a list of so many arguments.
func places(n int) string { return "(" + strings.Repeat("?, ", n-1) + "?)" }

// conditions are what a query adds to a statement.
type conditions struct {
	text strings.Builder
	args []any
}

func (c *conditions) and(condition string, args ...any) {
	c.text.WriteString("  AND " + condition + "\n")
	c.args = append(c.args, args...)
}

// states are conditions for the words of [driver.Record.State].
var states = map[string]string{
	"done":     "phase = 2",
	"running":  "phase = 1 AND (given_up = 0 AND lease_until > UTC_TIMESTAMP(6) OR on_crash = 2 AND attempt < max_attempts)",
	"in-doubt": "phase = 1 AND (given_up = 1 OR lease_until <= UTC_TIMESTAMP(6)) AND NOT (on_crash = 2 AND attempt < max_attempts)",
	"":         "phase > 0",
}

// List implements [driver.Lister], in the order of ids. Records that cannot be read are left out and logged. An unknown state
// or a foreign cursor is an error.
func (s *Store) List(ctx context.Context, q driver.Query) (page []driver.Record, next string, err error) {
	state, ok := states[q.State]
	if !ok {
		return nil, "", fmt.Errorf("mysqlstore: no such state %q: use running, in-doubt or done", q.State)
	}
	after, err := hex.DecodeString(q.Cursor)
	if err != nil || len(after) != 0 && len(after) != len(driver.ID{}) {
		return nil, "", fmt.Errorf("mysqlstore: %q is not a cursor that List returned", q.Cursor)
	}
	if err := ended(ctx); err != nil {
		return nil, "", err
	}
	if q.Limit <= 0 {
		q.Limit = defaultListLimit
	}
	c := conditions{args: []any{some(after)}}
	c.and(state)
	if q.KeyTag != nil {
		c.and("key_tag = ?", q.KeyTag[:])
	}
	if q.Operation != "" {
		c.and("operation = ?", []byte(q.Operation))
	}
	rows, err := s.db.QueryContext(ctx, s.text["list"]+c.text.String()+"ORDER BY id LIMIT ?", append(c.args, q.Limit+1)...)
	if err != nil {
		return nil, "", failure(err)
	}
	defer rows.Close()
	return s.page(rows, q.Limit)
}

// page reads records, of which one more than the page has room for shows that there are others.
func (s *Store) page(rows *sql.Rows, limit int) (page []driver.Record, next string, err error) {
	last := ""
	for n := 0; rows.Next(); n++ {
		if n == limit {
			return page, last, nil
		}
		r, err := scan(rows, nil)
		switch {
		case errors.Is(err, driver.ErrUndecodable):
			s.log.Warn("mysqlstore: left out of a list", "id", r.ID.Short(), "err", err)
		case err != nil:
			return nil, "", failure(err)
		default:
			page = append(page, r.Record)
		}
		last = r.ID.String()
	}
	return page, "", failure(rows.Err())
}
