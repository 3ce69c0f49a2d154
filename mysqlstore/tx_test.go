package mysqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/storetest"
)

// byTx makes each verb in a transaction of its own, as a user's.
type byTx struct {
	*Store

	isolation sql.IsolationLevel
}

func (s *byTx) in(ctx context.Context, verb func(inside driver.Store) error) error {
	for {
		tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: s.isolation})
		if err != nil {
			return undone(err)
		}
		err = verb(s.Tx(tx))
		if isDeadlock(err) || errors.Is(err, errAgain) {
			continue
		}
		if errors.Is(err, driver.ErrTransaction) && !errors.Is(err, errNotItsOwn) {
			err = fmt.Errorf("%w: %v", driver.ErrUnavailable, err) //nolint:errorlint // there is nothing else in the transaction: it is no loss
		}
		if err != nil {
			_ = tx.Rollback()
			return err
		}
		return failure(tx.Commit())
	}
}

// Acquire asks again when it was told that the key is taken: what the suite wants to know of others, a key that is taken does
// not tell.
func (s *byTx) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	for {
		err = s.in(ctx, func(inside driver.Store) error {
			g, err = inside.Acquire(ctx, id, c)
			return err
		})
		if err != nil || g.Verdict != driver.Running || g.Record.Fence > 0 {
			return g, err
		}
	}
}

func (s *byTx) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	return s.in(ctx, func(inside driver.Store) error { return inside.Extend(ctx, id, o, e) })
}

func (s *byTx) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return s.in(ctx, func(inside driver.Store) error { return inside.Complete(ctx, id, o, out) })
}

func (s *byTx) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return s.in(ctx, func(inside driver.Store) error { return inside.Release(ctx, id, o, n) })
}

func (s *byTx) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	return s.in(ctx, func(inside driver.Store) error { return inside.Resolve(ctx, id, r) })
}

func (s *byTx) Get(ctx context.Context, id driver.ID) (r driver.Record, err error) {
	err = s.in(ctx, func(inside driver.Store) error {
		r, err = inside.Get(ctx, id)
		return err
	})
	return r, err
}

func TestConformanceOfTx(t *testing.T) {
	t.Parallel() // most of it is waiting
	conformanceOfTx(t, sql.LevelReadCommitted, func(testing.TB, *Store) {})
}

func TestConformanceOfTxAsOnMySQL(t *testing.T) {
	t.Parallel() // as above
	conformanceOfTx(t, sql.LevelRepeatableRead, asOnMySQL)
}

func conformanceOfTx(t *testing.T, isolation sql.IsolationLevel, change func(t testing.TB, s *Store)) {
	t.Helper()
	server := testsvc.MariaDB(t, "max_connections = 500", unsynced)
	open := func(t testing.TB, o *Options) driver.Store {
		s := openAt(t, server.URL, o)
		change(t, s)
		return &byTx{s, isolation}
	}
	storetest.Run(t, func(t testing.TB) driver.Store { return open(t, nil) }, &storetest.Options{
		RealTime: true, Parallel: true, Unit: unit,
		Trail: func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
			return open(t, &Options{Audit: level, AuditRetention: retain})
		},
	})
}

// asOnMySQL takes keys as it is done where an insert cannot but wait.
func asOnMySQL(t testing.TB, s *Store) {
	t.Helper()
	s.dialect.atOnce = ""
	s.text = s.texts()
	check.NoError(t, s.prepare(bg), "preparing")
}

// A lock wait timeout undoes one statement and keeps the transaction: its effect must not be committed without its key.
func TestErrorOfAKeyRollsBack(t *testing.T) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	id, c := newID(), claim()
	acquire(t, s.Store, id, c, driver.Acquired)

	holder, err := s.db.BeginTx(bg, nil)
	check.NoError(t, err, "another transaction")
	defer func() { _ = holder.Rollback() }()
	_, err = holder.ExecContext(bg, s.named("SELECT 1 FROM onceward_records WHERE id = ? FOR UPDATE"), id[:])
	check.NoError(t, err, "holding the row")

	conn, err := s.db.Conn(bg)
	check.NoError(t, err, "a connection")
	defer conn.Close()
	_, err = conn.ExecContext(bg, "SET SESSION innodb_lock_wait_timeout = 1")
	check.NoError(t, err, "a short wait")
	tx, err := conn.BeginTx(bg, nil)
	check.NoError(t, err, "a transaction")
	check.NoError(t, s.effect(bg, tx, "a"), "effect")
	err = s.Tx(tx).Complete(bg, id, c.Owner, sampled)
	check.Equal(t, number(err), lockTimeout, "the error of Complete")
	check.ErrorIs(t, err, driver.ErrTransaction, "Complete of a row that is held")
	check.ErrorIs(t, tx.Commit(), sql.ErrTxDone, "Commit")
	check.Equal(t, s.effects(t, "a"), 0, "effects")
}

// With innodb_rollback_on_timeout a key that somebody has costs the whole transaction, not one statement. What was done before
// is gone, and what comes after it would be committed by itself.
func TestTimeoutThatRollsBack(t *testing.T) {
	s := newShop(t, testsvc.MariaDB(t, "innodb_rollback_on_timeout = ON").URL, nil)
	holder, err := s.db.BeginTx(bg, nil)
	check.NoError(t, err, "another transaction")
	defer func() { _ = holder.Rollback() }()
	held := newID()
	acquire(t, s.Tx(holder), held, claim(), driver.Acquired)

	tx, err := s.db.BeginTx(bg, nil)
	check.NoError(t, err, "a transaction")
	inside, id, c := s.Tx(tx), newID(), claim()
	acquire(t, inside, id, c, driver.Acquired)
	check.NoError(t, s.effect(bg, tx, "a"), "effect")
	check.NoError(t, inside.Complete(bg, id, c.Owner, sampled), "Complete")
	_, err = inside.Acquire(bg, held, claim())
	check.ErrorIs(t, err, driver.ErrUnavailable, "Acquire of a key that is held")
	check.True(t, strings.Contains(err.Error(), "innodb_rollback_on_timeout is on"), "the error: %v", err)
	check.ErrorIs(t, s.effect(bg, tx, "a"), sql.ErrTxDone, "an effect afterwards")
	check.ErrorIs(t, tx.Commit(), sql.ErrTxDone, "Commit")
	check.Equal(t, s.effects(t, "a"), 0, "effects")
}

// A Complete that is lost must not let the effect be committed.
func TestLostCompleteRollsBack(t *testing.T) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	tx, err := s.db.BeginTx(bg, nil)
	check.NoError(t, err, "a transaction")
	inside, id, c := s.Tx(tx), newID(), claim()
	acquire(t, inside, id, c, driver.Acquired)
	check.NoError(t, s.effect(bg, tx, "a"), "effect")
	check.NoError(t, inside.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}), "a sign of life")
	check.ErrorIs(t, inside.Complete(bg, id, newOwner(), sampled), driver.ErrLost, "Complete by somebody else")
	check.ErrorIs(t, inside.Complete(bg, id, c.Owner, sampled), driver.ErrTransaction, "Complete afterwards")
	check.ErrorIs(t, tx.Commit(), sql.ErrTxDone, "Commit")
	check.Equal(t, s.effects(t, "a"), 0, "effects")
	r, err := s.Get(bg, id)
	check.NoError(t, err, "Get")
	check.Equal(t, r.State(), "absent", "the key")
}

// A sign of life comes from another goroutine while the user has the connection.
func TestSignOfLifeSendsNothing(t *testing.T) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	tx, err := s.db.BeginTx(bg, nil)
	check.NoError(t, err, "a transaction")
	defer func() { _ = tx.Rollback() }()
	inside, id, c := s.Tx(tx), newID(), claim()
	acquire(t, inside, id, c, driver.Acquired)
	rows, err := tx.QueryContext(bg, "SELECT 1 UNION SELECT 2")
	check.NoError(t, err, "a query")
	defer rows.Close()
	check.True(t, rows.Next(), "the query has no rows")
	check.NoError(t, inside.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}), "a sign of life in the middle of a query")
	check.True(t, rows.Next(), "the query has one row only")
	check.NoError(t, rows.Err(), "the query")
}

// Who has read before still sees what was committed since.
func TestTransactionThatReadBefore(t *testing.T) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	id, c := newID(), claim()
	tx, err := s.db.BeginTx(bg, &sql.TxOptions{Isolation: sql.LevelRepeatableRead})
	check.NoError(t, err, "a transaction")
	defer func() { _ = tx.Rollback() }()
	var n int
	check.NoError(t, tx.QueryRowContext(bg, s.named("SELECT COUNT(*) FROM onceward_records")).Scan(&n), "reading")
	pair(t, s.Store, id, &c)
	r := acquire(t, s.Tx(tx), id, claim(), driver.Done)
	check.Equal(t, string(r.Outcome.Bytes), string(sampled.Bytes), "the outcome")
}
