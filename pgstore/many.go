package pgstore

import (
	"bytes"
	"context"
	sqldriver "database/sql/driver"
	"errors"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/pgstore/internal/greedy"
)

// crowd makes one statement, and so one commit, of what callers ask for at the same time.
type crowd struct {
	begins    greedy.Queue[*asking]
	completes greedy.Queue[*asking]
	reads     greedy.Queue[*asking]

	mu   sync.Mutex
	done map[driver.ID]bool // ids that were done when this process saw them last
}

const mostDone = 1 << 16 // ids that are remembered

// asking is one of many calls.
type asking struct {
	id    driver.ID
	args  []any // of the statement for one
	found bool
	row   row // what a read found
}

// largest is the size of an outcome that still goes together with others.
const largest = 16 << 10

func newCrowd(s *Store) *crowd {
	c := &crowd{done: make(map[driver.ID]bool)}
	c.begins.Together = func(ctx context.Context, all []*asking) error { return s.together(ctx, "acquire_many", all) }
	c.completes.Together = func(ctx context.Context, all []*asking) error { return s.together(ctx, "complete_many", all) }
	c.reads.Together = s.readMany
	c.begins.Alone, c.completes.Alone, c.reads.Alone = refusedByServer, refusedByServer, refusedByServer
	return c
}

func (c *crowd) close() {
	c.begins.Close()
	c.completes.Close()
	c.reads.Close()
}

// refusedByServer reports whether the server has refused what it was sent, so that nothing was done.
func refusedByServer(err error) bool {
	var refused *pgconn.PgError
	return errors.Is(err, driver.ErrUnavailable) && errors.As(err, &refused)
}

// Acquire implements [driver.Store].
func (s *Store) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	if err := ended(ctx); err != nil {
		return g, err
	}
	if s.crowd.knows(id) {
		if g, err := s.replay(ctx, id, &c); err != nil || g.Verdict != 0 {
			return g, err
		}
	}
	a := &asking{id: id, args: s.acquiring(id, &c)}
	alone, err := s.crowd.begins.Do(ctx, id, a, func() (err error) {
		g, err = s.acquireArgs(ctx, id, &c, a.args)
		return err
	})
	switch {
	case err != nil || alone:
	case a.found:
		return granted(id, &c), nil
	default:
		if g, err = s.replay(ctx, id, &c); err == nil && g.Verdict == 0 {
			g, err = s.acquireArgs(ctx, id, &c, a.args)
		}
	}
	if g.Verdict == driver.Done {
		s.crowd.remember(id)
	}
	return g, err
}

// replay judges a claim on a key that is probably known, and has no verdict if it has to be acquired.
func (s *Store) replay(ctx context.Context, id driver.ID, c *driver.Claim) (g driver.Grant, err error) {
	a := &asking{id: id}
	// Whether it was alone does not matter: what was found is in a either way.
	_, err = s.crowd.reads.Do(ctx, id, a, func() (err error) {
		a.found, err = s.on.run(ctx, s.sql["get"], a.row.dest(), id[:])
		return err
	})
	if err != nil {
		return g, err
	}
	if a.found && !a.row.absent() {
		return s.judge(ctx, id, c, &a.row)
	}
	s.crowd.forget(id)
	return g, nil
}

// Complete implements [driver.Store].
func (s *Store) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if len(out.Bytes) > largest {
		return s.verbs.Complete(ctx, id, o, out)
	}
	own := out
	own.Bytes = bytes.Clone(out.Bytes) // the caller may leave before it is sent
	a := &asking{id: id, args: completeArgs(id, o, &own)}
	alone, err := s.crowd.completes.Do(ctx, id, a, func() error { return s.verbs.Complete(ctx, id, o, out) })
	if err != nil || alone || a.found {
		return err
	}
	return s.verbs.Complete(ctx, id, o, out)
}

// together runs a statement that takes an array for each argument of the one for one, and answers the ids that it met.
func (s *Store) together(ctx context.Context, name string, all []*asking) error {
	args := make([]any, len(all[0].args))
	for i := range args {
		args[i] = &column{all, i}
	}
	return s.each(ctx, all, s.sql[name], args, nil, func(a *asking) { a.found = true })
}

// column is the i-th argument of all, as pgx encodes an array.
type column struct {
	all []*asking
	i   int
}

// Dimensions implements [pgtype.ArrayGetter].
func (c *column) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(c.all)), LowerBound: 1}}
}

// Index implements [pgtype.ArrayGetter].
func (c *column) Index(n int) any { return c.all[n].args[c.i] }

// IndexType implements [pgtype.ArrayGetter].
func (c *column) IndexType() any { return c.Index(0) }

// Value implements [sqldriver.Valuer], as that of an argument.
func (c *column) Value() (sqldriver.Value, error) {
	first := c.all[0].args[c.i].(*argument) //nolint:forcetypeassert // so are all
	if first.octets == nil {
		return columnOf(c, func(a *argument) int64 { return a.number }), nil
	}
	return columnOf(c, func(a *argument) []byte { return a.octets }), nil
}

func columnOf[T any](c *column, value func(*argument) T) []T {
	column := make([]T, len(c.all))
	for n, a := range c.all {
		column[n] = value(a.args[c.i].(*argument)) //nolint:forcetypeassert // so are all
	}
	return column
}

func (s *Store) readMany(ctx context.Context, all []*asking) error {
	ids := make([][]byte, len(all))
	for i, a := range all {
		ids[i] = a.id[:]
	}
	var r row
	return s.each(ctx, all, s.sql["get_many"], []any{ids}, r.dest(), func(a *asking) { a.found, a.row = true, r })
}

// each scans rows that end with the id of one of all.
func (s *Store) each(ctx context.Context, all []*asking, statement string, args, dest []any, found func(a *asking)) error {
	return onPool{s.pool}.with(ctx, func(conn *pgx.Conn) error {
		for _, a := range all {
			a.found = false // what was found before may have been undone at the end of the statement
		}
		rows, err := conn.Query(ctx, statement, args...)
		if err != nil {
			return err
		}
		var id []byte
		_, err = pgx.ForEachRow(rows, append(dest, &id), func() error {
			found(find(all, driver.ID(id)))
			return nil
		})
		return err
	})
}

// find is the call about id. They are in the order of ids.
func find(all []*asking, id driver.ID) *asking {
	at, _ := slices.BinarySearchFunc(all, id, func(a *asking, id driver.ID) int { return bytes.Compare(a.id[:], id[:]) })
	return all[at]
}

func (c *crowd) knows(id driver.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done[id]
}

func (c *crowd) remember(id driver.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.done) >= mostDone {
		for any := range c.done {
			delete(c.done, any)
			break
		}
	}
	c.done[id] = true
}

func (c *crowd) forget(id driver.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.done, id)
}
