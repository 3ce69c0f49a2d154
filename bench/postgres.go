package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/pgstore"
)

// openPostgres starts a PostgreSQL and opens what is measured on it.
func openPostgres(settings ...string) (*database, error) {
	server, err := startPostgres(settings...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background()) // the context of a request can end
	d := &database{server: server, cancel: cancel}
	if err := d.openPostgres(ctx); err != nil {
		return nil, errors.Join(err, d.end())
	}
	return d, nil
}

func (d *database) openPostgres(ctx context.Context) error {
	if _, err := pgstore.Migrate(ctx, d.server.url, pgstore.Latest, nil); err != nil {
		return err
	}
	pool, err := d.postgresPool(ctx, "")
	if err != nil {
		return err
	}
	hasty, err := d.postgresPool(ctx, "&synchronous_commit=off")
	if err != nil {
		return err
	}
	p := plainPostgres{ctx, pool}
	if err := p.make(); err != nil {
		return err
	}
	store, err := d.pgstore(pool, driver.AuditOff)
	if err != nil {
		return err
	}
	audited, err := d.pgstore(pool, driver.AuditTransitions)
	if err != nil {
		return err
	}
	guard, err := onceward.New(store, nil)
	if err != nil {
		return err
	}
	d.closing(func() { _ = guard.Close(ctx) })

	d.plain, d.store, d.audited = p, &pairs{ctx, store, idOf, theClaim()}, &pairs{ctx, audited, idOf, theClaim()}
	d.hasty = func() (freshAndReplay, func() error, error) {
		return plainPostgres{ctx, hasty}, func() error { return nil }, nil
	}
	d.effect, d.three, d.doOnce = p.effect, p.three, doOnce(ctx, guard, p.effect)
	d.doTx = ran(func(n int, told func()) (string, error) {
		return pgstore.DoTx(ctx, guard, store, paymentKey(n), n, func(ctx context.Context, tx pgx.Tx) (string, error) {
			told()
			_, err := tx.Exec(ctx, postgresEffect, n)
			return theReceipt, err
		})
	})
	p.upkeep(d)
	return pool.QueryRow(ctx, "SHOW server_version").Scan(&d.version)
}

// postgresPool takes its size from the URL.
func (d *database) postgresPool(ctx context.Context, parameter string) (*pgxpool.Pool, error) {
	pool, err := pgxpool.New(ctx, d.server.url+parameter)
	if err != nil {
		return nil, err
	}
	d.closing(pool.Close)
	return pool, nil
}

func (d *database) pgstore(pool *pgxpool.Pool, audit driver.AuditLevel) (*pgstore.Store, error) {
	s, err := pgstore.New(pool, &pgstore.Options{Audit: audit, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	d.closing(s.Close)
	return s, nil
}

// plainPostgres is what somebody writes who needs an INSERT before an operation, an UPDATE after it and a SELECT for a
// repetition, and nothing else.
type plainPostgres struct {
	ctx  context.Context //nolint:containedctx // that of all its calls
	pool *pgxpool.Pool
}

const postgresEffect = "INSERT INTO payments (customer, cents, note) VALUES ('customer 7', $1, 'two tickets, row 12')"

func (p plainPostgres) make() error {
	return p.each(
		"CREATE TABLE plain (id bytea PRIMARY KEY, owner bytea NOT NULL, state smallint NOT NULL, at timestamptz NOT NULL,"+
			" until timestamptz NOT NULL, fingerprint bytea NOT NULL, operation bytea NOT NULL, outcome bytea)",
		"CREATE INDEX ON plain (until)",
		"CREATE TABLE payments (number bigserial PRIMARY KEY, customer text NOT NULL, cents bigint NOT NULL, note text NOT NULL)",
	)
}

// upkeep is what is done between samples.
func (p plainPostgres) upkeep(d *database) {
	d.keep = func() error {
		return p.each("CREATE TABLE kept_records AS TABLE onceward.records", "CREATE TABLE kept_plain AS TABLE plain")
	}
	d.reset = func() error {
		return p.each("TRUNCATE onceward.records, onceward.trail, plain, payments", "CHECKPOINT",
			"INSERT INTO onceward.records TABLE kept_records", "INSERT INTO plain TABLE kept_plain", "ANALYZE onceward.records, plain")
	}
	// What ANALYZE leaves of old statistics in the catalog would be tidied up by whoever reads it next, and that is logged.
	d.settle = func() error { return p.each("ANALYZE", "VACUUM", "CHECKPOINT") }
	d.logged = func() (n uint64, err error) {
		err = p.pool.QueryRow(p.ctx, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint").Scan(&n)
		return n, err
	}
}

func (p plainPostgres) each(statements ...string) error {
	for _, statement := range statements {
		if _, err := p.pool.Exec(p.ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func (p plainPostgres) begin(n int) error {
	id, c := idOf(n), theClaim()
	_, err := p.pool.Exec(p.ctx, "INSERT INTO plain VALUES ($1, $2, 1, now(), now() + interval '30 days', $3, $4)",
		id[:], c.Owner[:], []byte(c.Fingerprint.Sum), []byte(c.Labels.Operation))
	return err
}

func (p plainPostgres) end(n int) error {
	id, c := idOf(n), theClaim()
	tag, err := p.pool.Exec(p.ctx, "UPDATE plain SET state = 2, at = now(), until = now() + interval '1 day', outcome = $3"+
		" WHERE id = $1 AND owner = $2 AND state = 1", id[:], c.Owner[:], theAnswer)
	if err == nil && tag.RowsAffected() != 1 {
		err = fmt.Errorf("the fresh key %d does not run", n)
	}
	return err
}

func (p plainPostgres) effect(n int) error {
	_, err := p.pool.Exec(p.ctx, postgresEffect, n)
	return err
}

func (p plainPostgres) fresh(n int) error { return inTurn(n, p.begin, p.end) }

func (p plainPostgres) three(n int) error { return inTurn(n, p.begin, p.effect, p.end) }

func (p plainPostgres) replay(n int) error {
	var r [4][]byte
	var state int64
	id := idOf(n)
	err := p.pool.QueryRow(p.ctx, "SELECT owner, state, fingerprint, operation, outcome FROM plain WHERE id = $1", id[:]).
		Scan(&r[0], &state, &r[1], &r[2], &r[3])
	if err == nil && len(r[3]) != len(theAnswer) {
		err = fmt.Errorf("the done key %d has an answer of %d bytes", n, len(r[3]))
	}
	return err
}
