package pgstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward/driver"
)

// Tx is the store inside a transaction of yours, for guards as guard.With makes them: what it writes is committed with your
// own statements, or not at all. A key that is acquired is written at once, so that whoever forgets to complete it and
// commits leaves a key in doubt, never a second effect.
//
// A key that another transaction holds is running, at once: nobody waits for the end of a transaction. After any error of a
// statement of the store's, and after a Complete that was lost, there is nothing to commit any more: the store rolls the
// transaction back itself, and your Commit returns [pgx.ErrTxClosed]. From then on Acquire and Get are [driver.ErrUnavailable]
// and the other verbs [driver.ErrTransaction], so that an attempt ends at once and its caller may ask again. Start again with a
// new transaction where the error is a serialization failure or a deadlock.
//
// The attempt whose key was acquired here shows signs of life without a statement, because they come from another goroutine.
// The other verbs use the transaction, so call them where you would use it yourself.
func (s *Store) Tx(tx pgx.Tx) driver.Store { return s.inTx(pgxTx{tx}) }

// TxSQL is as [Store.Tx], for database/sql with the driver of pgx, github.com/jackc/pgx/v5/stdlib. Commit returns
// [sql.ErrTxDone] when the store has rolled back.
func (s *Store) TxSQL(tx *sql.Tx) driver.Store { return s.inTx(sqlTx{tx}) }

func (s *Store) inTx(tx transaction) *txStore {
	t := &txStore{tx: tx, mine: make(map[driver.ID]driver.Owner)}
	t.verbs = verbs{on: t, sql: s.sql, audit: s.audit, locks: s.locks}
	return t
}

// transaction is one of a caller's.
type transaction interface {
	row(ctx context.Context, statement string, dest []any, args ...any) error
	rollback(ctx context.Context) error
}

type pgxTx struct{ tx pgx.Tx }

func (t pgxTx) row(ctx context.Context, statement string, dest []any, args ...any) error {
	return t.tx.QueryRow(ctx, statement, args...).Scan(dest...)
}

func (t pgxTx) rollback(ctx context.Context) error { return t.tx.Rollback(ctx) }

type sqlTx struct{ tx *sql.Tx }

func (t sqlTx) row(ctx context.Context, statement string, dest []any, args ...any) error {
	return t.tx.QueryRowContext(ctx, statement, args...).Scan(dest...)
}

func (t sqlTx) rollback(context.Context) error { return t.tx.Rollback() }

// txStore is a store in a transaction. The embedded verbs run their statements through it.
type txStore struct {
	verbs

	tx transaction

	mu   sync.Mutex // one verb at a time
	mine map[driver.ID]driver.Owner
	lost error // why there is nothing to commit any more
}

// run is for the verbs, while mu is held.
func (t *txStore) run(ctx context.Context, statement string, dest []any, args ...any) (found bool, err error) {
	err = t.tx.row(ctx, statement, dest, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		t.abandon(err)
	}
	return err == nil, err
}

// abandon rolls back, so that nobody commits an effect without its outcome.
func (t *txStore) abandon(why error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = t.tx.rollback(ctx) // or the connection is gone, and with it the transaction
	t.lost = why
}

// use makes one verb. Over is what its error is once there is nothing to commit any more.
func (t *txStore) use(ctx context.Context, over error, verb func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lost == nil {
		err := ended(ctx)
		if err == nil {
			err = verb()
		}
		if t.lost == nil {
			return err
		}
	}
	return fmt.Errorf("%w: pgstore: the transaction was rolled back, or had ended: %w", over, t.lost)
}

// Acquire implements [driver.Store].
func (t *txStore) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	err = t.use(ctx, driver.ErrUnavailable, func() error {
		g, err = t.acquire(ctx, id, c)
		return err
	})
	return g, err
}

func (t *txStore) acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	// The lock is taken by a statement of its own: what its last holder committed can be seen by the next one only.
	var isHeld bool
	if _, err := t.run(ctx, t.sql["lock"], []any{&isHeld}, t.lockOf(id)); err != nil {
		return g, err
	}
	if isHeld {
		return heldElsewhere(id, &c), nil
	}
	g, err = t.verbs.Acquire(ctx, id, c)
	if err == nil && g.Verdict == driver.Acquired {
		t.mine[id] = c.Owner
	}
	return g, err
}

// Extend implements [driver.Store].
func (t *txStore) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	return t.use(ctx, driver.ErrTransaction, func() error {
		if owner, ok := t.mine[id]; ok && owner == o && e.Lease > 0 {
			return nil // as long as the transaction is open nobody else can see the key
		}
		return t.verbs.Extend(ctx, id, o, e)
	})
}

// Complete implements [driver.Store].
func (t *txStore) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return t.use(ctx, driver.ErrTransaction, func() error {
		delete(t.mine, id)
		err := t.verbs.Complete(ctx, id, o, out)
		if err != nil && t.lost == nil {
			t.abandon(err)
		}
		return err
	})
}

// Release implements [driver.Store].
func (t *txStore) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return t.use(ctx, driver.ErrTransaction, func() error {
		delete(t.mine, id)
		return t.verbs.Release(ctx, id, o, n)
	})
}

// Resolve implements [driver.Store].
func (t *txStore) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	return t.use(ctx, driver.ErrTransaction, func() error { return t.verbs.Resolve(ctx, id, r) })
}

// Get implements [driver.Store].
func (t *txStore) Get(ctx context.Context, id driver.ID) (r driver.Record, err error) {
	err = t.use(ctx, driver.ErrUnavailable, func() error {
		r, err = t.verbs.Get(ctx, id)
		return err
	})
	r.ID = id
	return r, err
}
