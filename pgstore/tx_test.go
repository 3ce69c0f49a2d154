package pgstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/storetest"
)

// The suite on transactions: each verb in one of its own, committed unless it failed.

func TestConformanceInTransactions(t *testing.T) {
	t.Parallel() // as TestConformance
	server := testsvc.Postgres(t, "max_connections = 300")
	open := func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
		return &inTransactions{Store: openAt(t, server.URL, &Options{Audit: level, AuditRetention: retain})}
	}
	storetest.Run(t, func(t testing.TB) driver.Store { return open(t, driver.AuditOff, 0) },
		&storetest.Options{RealTime: true, Parallel: true, Unit: unit, Trail: open})
}

func TestConformanceInTransactionsOfDatabaseSQL(t *testing.T) {
	t.Parallel() // as TestConformance
	server := testsvc.Postgres(t, "max_connections = 300")
	open := func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
		db, err := sql.Open("pgx", server.URL)
		check.NoError(t, err, "opening")
		t.Cleanup(func() { db.Close() })
		return &inTransactions{Store: openAt(t, server.URL, &Options{Audit: level, AuditRetention: retain}), db: db}
	}
	storetest.Run(t, func(t testing.TB) driver.Store { return open(t, driver.AuditOff, 0) },
		&storetest.Options{RealTime: true, Parallel: true, Unit: unit, Trail: open})
}

type inTransactions struct {
	*Store

	db *sql.DB // nil: pgx
}

// in makes one call in a transaction, again while another transaction has the key: the suite does not know of this.
func (s *inTransactions) in(ctx context.Context, call func(tx driver.Store) error) error {
	if s.db != nil {
		tx, err := s.db.BeginTx(ctx, nil)
		if err != nil {
			return failure(err)
		}
		store := s.TxSQL(tx)
		if err := call(store); err != nil {
			_ = tx.Rollback()
			return refusedIn(store, err)
		}
		return tx.Commit()
	}
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return failure(err)
	}
	store := s.Tx(tx)
	if err := call(store); err != nil {
		_ = tx.Rollback(bg)
		return refusedIn(store, err)
	}
	return tx.Commit(ctx)
}

// refusedIn is an error as the suite knows it: when a transaction of one call is over, the call was refused.
func refusedIn(tx driver.Store, err error) error {
	if why := tx.(*txStore).lost; why != nil && !errors.Is(why, driver.ErrLost) {
		return fmt.Errorf("%w: %w", driver.ErrUnavailable, why)
	}
	return err
}

func (s *inTransactions) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	for {
		err = s.in(ctx, func(tx driver.Store) error { g, err = tx.Acquire(ctx, id, c); return err })
		if err != nil || g.Verdict != driver.Running || g.Record.Fence != 0 {
			return g, err
		}
	}
}

func (s *inTransactions) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	return s.in(ctx, func(tx driver.Store) error { return tx.Extend(ctx, id, o, e) })
}

func (s *inTransactions) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return s.in(ctx, func(tx driver.Store) error { return tx.Complete(ctx, id, o, out) })
}

func (s *inTransactions) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return s.in(ctx, func(tx driver.Store) error { return tx.Release(ctx, id, o, n) })
}

func (s *inTransactions) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	return s.in(ctx, func(tx driver.Store) error { return tx.Resolve(ctx, id, r) })
}

func (s *inTransactions) Get(ctx context.Context, id driver.ID) (r driver.Record, err error) {
	err = s.in(ctx, func(tx driver.Store) error { r, err = tx.Get(ctx, id); return err })
	return r, err
}

// shop is a store with a table of effects beside it.
type shop struct {
	*Store

	guard *onceward.Guard
}

func openShop(t testing.TB, url string) *shop {
	t.Helper()
	s := openAt(t, url, nil)
	execute(t, s, "CREATE TABLE onceward.effects (id bigserial PRIMARY KEY, key text NOT NULL)")
	return newShop(t, s)
}

func newShop(t testing.TB, s *Store) *shop {
	t.Helper()
	guard, err := onceward.New(s, &onceward.Options{Logger: quiet})
	check.NoError(t, err, "a guard")
	t.Cleanup(func() { _ = guard.Close(bg) })
	return &shop{s, guard}
}

func (s *shop) key(value string) onceward.Key {
	return onceward.Key{Scope: "shop", Operation: "charge", Value: value}
}

// charge has one effect.
func (s *shop) charge(ctx context.Context, tx pgx.Tx, key string) error {
	_, err := tx.Exec(ctx, inSchema("INSERT INTO onceward.effects (key) VALUES ($1)", s.schema), key)
	return err
}

func (s *shop) effects(t testing.TB, key string) int {
	t.Helper()
	return ask[int](t, s.Store, "SELECT count(*) FROM onceward.effects WHERE key = $1", key)
}

// What is not committed leaves neither the effect nor the record.
func TestEffectAndRecordAreOne(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL)
	for _, commit := range []bool{false, true} {
		id, c := newID(), claim()
		tx, err := s.pool.Begin(bg)
		check.NoError(t, err, "Begin")
		in := s.Tx(tx)
		pair(t, in, id, &c)
		check.NoError(t, s.charge(bg, tx, id.String()), "the effect")
		r, err := s.Get(bg, id)
		check.NoError(t, err, "Get")
		check.Equal(t, r.State(), "absent", "the record before the end")
		want, effects := "absent", 0
		if commit {
			want, effects = "done", 1
			check.NoError(t, tx.Commit(bg), "Commit")
		} else {
			check.NoError(t, tx.Rollback(bg), "Rollback")
		}
		r, err = s.Get(bg, id)
		check.NoError(t, err, "Get")
		check.Equal(t, r.State(), want, "the record")
		check.Equal(t, s.effects(t, id.String()), effects, "effects")
	}
}

// Whoever forgets Complete and commits is in doubt, and is not run again.
func TestForgottenComplete(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL)
	id, c := newID(), claim()
	c.Lease = time.Millisecond
	tx, err := s.pool.Begin(bg)
	check.NoError(t, err, "Begin")
	_, err = s.Tx(tx).Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	check.NoError(t, s.charge(bg, tx, id.String()), "the effect")
	check.NoError(t, tx.Commit(bg), "Commit")
	time.Sleep(2 * time.Millisecond) // the end of the lease by the server's clock
	g, err := s.Acquire(bg, id, claim())
	check.NoError(t, err, "Acquire")
	check.Equal(t, g.Verdict, driver.InDoubt, "the verdict")
}

// After an error of the store's nobody can commit, whatever they do.
func TestNothingToCommitAfterAnError(t *testing.T) {
	server := testsvc.SharedPostgres(t).Database()
	s := openShop(t, server.URL)
	db, err := sql.Open("pgx", server.URL)
	check.NoError(t, err, "opening")
	defer db.Close()
	for name, fail := range map[string]func(in driver.Store) error{
		"Complete that is lost": func(in driver.Store) error { return in.Complete(bg, newID(), newOwner(), sampled) },
		"Complete after Release": func(in driver.Store) error {
			id, c := newID(), claim()
			_, err := in.Acquire(bg, id, c)
			return errors.Join(err, in.Release(bg, id, c.Owner, driver.Note{}), in.Complete(bg, id, c.Owner, sampled))
		},
		"a statement that fails": func(in driver.Store) error {
			in.(*txStore).sql = statements{"lock": "SELECT 1 / ($1::bigint - $1)", "get": "", "complete": ""}
			_, err := in.Acquire(bg, newID(), claim())
			check.ErrorIs(t, err, driver.ErrUnavailable, "Acquire")
			for call, err := range every(in, newID(), claim()) {
				want := driver.ErrTransaction
				if call == "Acquire" || call == "Get" {
					want = driver.ErrUnavailable
				}
				check.ErrorIs(t, err, want, "%s afterwards", call)
			}
			return err
		},
	} {
		tx, err := s.pool.Begin(bg)
		check.NoError(t, err, "Begin")
		check.NoError(t, s.charge(bg, tx, name), "the effect")
		check.True(t, fail(s.Tx(tx)) != nil, "%s must fail", name)
		check.ErrorIs(t, tx.Commit(bg), pgx.ErrTxClosed, "Commit after %s", name)

		old, err := db.Begin()
		check.NoError(t, err, "Begin")
		_, err = old.Exec(inSchema("INSERT INTO onceward.effects (key) VALUES ($1)", s.schema), name)
		check.NoError(t, err, "the effect")
		check.True(t, fail(s.TxSQL(old)) != nil, "%s must fail", name)
		check.ErrorIs(t, old.Commit(), sql.ErrTxDone, "Commit of database/sql after %s", name)
		check.Equal(t, s.effects(t, name), 0, "effects after %s", name)
	}
}

// Who has nothing to commit is told to ask again, at once, and nothing goes on in the background. What was asked for then runs
// as if it had never been.
func TestGuardOfAnAbortedTransaction(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL)
	for name, end := range map[string]func(a *onceward.Attempt) error{
		"Complete": func(a *onceward.Attempt) error { return a.Complete([]byte("paid")) },
		"Release":  func(a *onceward.Attempt) error { return a.Release("it failed") },
		"Doubt":    func(a *onceward.Attempt) error { return a.Doubt("it failed") },
	} {
		guard, err := onceward.New(s, &onceward.Options{Logger: quiet})
		check.NoError(t, err, "a guard")
		tx, err := s.pool.Begin(bg)
		check.NoError(t, err, "Begin of a transaction")
		t.Cleanup(func() { _ = tx.Rollback(bg) }) // where a check fails
		in := guard.With(s.Tx(tx))
		a, err := in.Begin(bg, s.key(name), nil, claim().Fingerprint)
		check.NoError(t, err, "Begin")
		check.NoError(t, s.charge(a.Context(), tx, name), "the effect")
		_, err = tx.Exec(bg, "SELECT 1/0")
		check.True(t, err != nil, "the user's statement must fail")
		err = end(a)
		check.ErrorIs(t, err, onceward.ErrUnavailable, "%s", name)
		check.ErrorIs(t, err, onceward.ErrLeaseLost, "%s", name)
		check.ErrorIs(t, tx.Commit(bg), pgx.ErrTxClosed, "Commit after %s", name)
		_, err = in.Begin(bg, s.key(name), nil, claim().Fingerprint)
		check.ErrorIs(t, err, onceward.ErrUnavailable, "Begin in the same transaction")
		left, cancel := context.WithCancel(bg)
		cancel()
		check.NoError(t, guard.Close(left), "Close: nothing may be owed after %s", name)
		r, err := s.guard.Lookup(bg, s.key(name))
		check.NoError(t, err, "Lookup")
		check.Equal(t, r.State(), "absent", "the record after %s", name)
		check.Equal(t, s.effects(t, name), 0, "effects after %s", name)
	}
}

// Signs of life come from another goroutine, while the user has the connection.
func TestSignsOfLifeNeedNoConnection(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL)
	id, c := newID(), claim()
	tx, err := s.pool.Begin(bg)
	check.NoError(t, err, "Begin")
	in := s.Tx(tx)
	_, err = in.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	rows, err := tx.Query(bg, "SELECT generate_series(1, 1000)") // the connection is busy until they are read
	check.NoError(t, err, "Query")
	check.NoError(t, in.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}), "Extend")
	_, err = pgx.CollectRows(rows, pgx.RowTo[int])
	check.NoError(t, err, "reading")
	check.NoError(t, in.Complete(bg, id, c.Owner, sampled), "Complete")
	check.NoError(t, tx.Commit(bg), "Commit")
}

// A duplicate of a key that is not committed yet is told so at once, by either way to ask.
func TestDuplicateOfAnOpenTransaction(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL)
	id := newID()
	tx, err := s.pool.Begin(bg)
	check.NoError(t, err, "Begin")
	defer func() { _ = tx.Rollback(bg) }()
	_, err = s.Tx(tx).Acquire(bg, id, claim())
	check.NoError(t, err, "Acquire")
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	other, err := s.pool.Begin(ctx)
	check.NoError(t, err, "Begin")
	defer func() { _ = other.Rollback(bg) }()
	for _, store := range []driver.Store{s.Tx(other), s} {
		different := claim()
		different.Fingerprint.Sum = "another request" // nobody can see what the first one was
		g, err := store.Acquire(ctx, id, different)
		check.NoError(t, err, "Acquire")
		check.True(t, g.Verdict == driver.Running && g.Record.Lease > 0, "the verdict is %v, the lease %v", g.Verdict, g.Record.Lease)
	}
}

// Services with schemas of their own in one database have nothing to do with each other, although their keys may be the same.
func TestSchemasAreApart(t *testing.T) {
	server := testsvc.SharedPostgres(t).Database()
	one, other := openShop(t, server.URL), openShop(t, server.URL)
	pay := func(s *shop) func(ctx context.Context, tx pgx.Tx) (string, error) {
		return func(ctx context.Context, tx pgx.Tx) (string, error) { return "paid", s.charge(ctx, tx, "o1") }
	}
	_, err := DoTx(bg, one.guard, one.Store, one.key("o1"), "o1", func(ctx context.Context, tx pgx.Tx) (string, error) {
		_, err := DoTx(ctx, other.guard, other.Store, other.key("o1"), "o1", pay(other))
		check.NoError(t, err, "the other service")
		return pay(one)(ctx, tx)
	})
	check.NoError(t, err, "the one service")
}
