package mysqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// Tx returns the store inside a transaction, which must be one of the pool that the store was made on: what it does is
// committed or rolled back with everything else in it. Use it with [onceward.Guard.With], complete the attempt before you
// commit, and never use the transaction at the same moment as the guard's verbs.
//
//	inside := guard.With(store.Tx(tx))
//
// A key that another transaction has acquired, and neither committed nor rolled back, is Running at once; MySQL waits for the
// end of that transaction, and so does an Acquire of the store outside of any. Where innodb_rollback_on_timeout is on, it is an
// error instead, and the transaction is rolled back. An attempt that is committed without its Complete is in doubt later, so that
// nothing happens twice.
//
// The transaction must not be READ UNCOMMITTED: it would be answered with what is never committed.
//
// Whatever goes wrong with a key rolls the transaction back: any error of the database, and a Complete that is lost. Its Commit
// then returns [sql.ErrTxDone], so that no effect is committed without its key, and the attempt ends with an error that says to
// ask again. A statement that changes tables, such as
// CREATE or ALTER, commits implicitly in MySQL and MariaDB: the effect up to there then stands with a running record.
//
// [DoTx] does all of this by itself, and holds no key that is known.
func (s *Store) Tx(tx *sql.Tx) driver.Store {
	return &inside{store: s, tx: tx, verbs: verbs{session{&s.stmt, tx}, s.audit}, mine: make(map[driver.ID]driver.Owner)}
}

// inside is a store in a transaction. Its verbs come one after the other.
type inside struct {
	store *Store
	tx    *sql.Tx
	verbs verbs

	mu   sync.Mutex
	mine map[driver.ID]driver.Owner // acquired here
	dead error                      // why it was rolled back
}

var errNotItsOwn = fmt.Errorf("%w: mysqlstore: it was rolled back, because the key is not its own", driver.ErrTransaction)

// Acquire implements [driver.Store].
func (t *inside) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	err = t.do(ctx, driver.ErrUnavailable, newRow(id, &c, 1), func() error {
		g, err = t.verbs.acquireAtOnce(ctx, id, &c)
		switch {
		case isHeld(err) && t.store.timeoutIsAll:
			return fmt.Errorf("innodb_rollback_on_timeout is on, so the server undid all of it when another transaction had the key: %w", err)
		case isHeld(err):
			g, err = taken(id, &c), nil
		case err == nil && g.Verdict == driver.Acquired:
			t.mine[id] = c.Owner
		}
		return err
	})
	return g, err
}

// Extend implements [driver.Store]. A sign of life sends nothing: the transaction is one, and its user may be in the middle
// of a statement.
func (t *inside) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	return t.do(ctx, driver.ErrTransaction, &row{Record: driver.Record{Note: e.Note}}, func() error {
		if owner, ok := t.mine[id]; ok && owner == o && e.Lease > 0 {
			return nil
		}
		return t.verbs.extend(ctx, id, o, e)
	})
}

// Complete implements [driver.Store].
func (t *inside) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	next := &row{Record: driver.Record{Note: out.Note, Outcome: out}}
	return t.do(ctx, driver.ErrTransaction, next, func() error {
		err := t.verbs.complete(ctx, id, o, &out)
		if errors.Is(err, driver.ErrLost) {
			t.end(err)
			err = errNotItsOwn
		}
		return err
	})
}

// Release implements [driver.Store].
func (t *inside) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return t.do(ctx, driver.ErrTransaction, &row{Record: driver.Record{Note: n}}, func() error {
		delete(t.mine, id)
		return t.verbs.release(ctx, id, o, n)
	})
}

// Resolve implements [driver.Store].
func (t *inside) Resolve(ctx context.Context, id driver.ID, res driver.Resolution) error {
	return t.do(ctx, driver.ErrTransaction, resolved(&res), func() error { return t.verbs.resolve(ctx, id, &res) })
}

// Get implements [driver.Store].
func (t *inside) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	found := driver.Record{ID: id}
	err := t.do(ctx, driver.ErrUnavailable, new(row), func() error {
		r, err := t.verbs.row(ctx, t.verbs.stmt.read, id)
		if err == nil {
			found = r.record(id)
		}
		return err
	})
	return found, err
}

// do makes one verb, unless the transaction has ended, which the verb's kind of error then says. Next is what it brings.
func (t *inside) do(ctx context.Context, ended error, next *row, verb func() error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead != nil {
		return fmt.Errorf("%w: mysqlstore: the transaction was rolled back before: %w", ended, t.dead)
	}
	err := t.store.ready(ctx, next)
	if err == nil {
		err = verb()
	}
	if err == nil || errors.Is(err, driver.ErrLost) {
		return err
	}
	t.end(err)
	if ended == driver.ErrUnavailable { //nolint:errorlint // it is that very one
		return undone(err)
	}
	return fmt.Errorf("%w: mysqlstore: it was rolled back: %w", ended, err)
}

// end rolls the transaction back. That is done by the server when the connection does not answer.
func (t *inside) end(why error) {
	t.dead = why
	rollBack(t.tx)
}

// acquireAtOnce is acquire for transactions that may last: it never waits for another one that holds the key, which an error
// tells for which isHeld is true.
//
// It looks before it asks for more, because a failed insert keeps a shared lock, and callers who all have one are in the way of
// each other. If the transaction reads what was there when it began, this may be old, and then the insert finds out.
func (v verbs) acquireAtOnce(ctx context.Context, id driver.ID, c *driver.Claim) (driver.Grant, error) {
	r, err := v.row(ctx, v.stmt.read, id)
	if err == nil && r == nil {
		fresh := newRow(id, c, 1)
		if r, err = v.claimAtOnce(ctx, fresh); err == nil && r == nil {
			return driver.Grant{Verdict: driver.Acquired, Record: fresh.Record}, v.tell(ctx, fresh, driver.StepAcquired, c.Note)
		}
	}
	if err == nil && r.verdict(c) == driver.Acquired {
		if r, err = v.row(ctx, v.stmt.seize, id); err == nil {
			return v.grant(ctx, id, c, r)
		}
	}
	if err != nil {
		return driver.Grant{}, err
	}
	return driver.Grant{Verdict: r.verdict(c), Record: r.record(id)}, nil
}

// claimAtOnce inserts a row and returns nil or, if there is one already, that one, which then stays as it is until the
// transaction ends. An error for which isHeld is true means that another transaction has it.
//
// Nobody can lock a row that is not there, so the insert itself takes the key, uncommitted.
func (v verbs) claimAtOnce(ctx context.Context, fresh *row) (*row, error) {
	err := v.write(ctx, v.stmt.take, fresh)
	if !isDuplicate(err) {
		return nil, err
	}
	r, err := v.row(ctx, v.stmt.share, fresh.ID)
	if err == nil && r == nil {
		err = errAgain
	}
	return r, err
}

// taken says that somebody runs, and nothing else is known.
func taken(id driver.ID, c *driver.Claim) driver.Grant {
	return driver.Grant{Verdict: driver.Running, Record: driver.Record{
		ID: id, Phase: driver.PhaseRunning, Fingerprint: c.Fingerprint, Labels: c.Labels, OnCrash: c.OnCrash,
		Lease: time.Second, Left: time.Second,
	}}
}
