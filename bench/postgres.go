package main

import (
	"context"
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
	return openDatabase(server, openPostgresClient, postgresDialect)
}

var postgresDialect = &dialect{
	tables: []string{
		"CREATE TABLE plain (id bytea PRIMARY KEY, owner bytea NOT NULL, state smallint NOT NULL, at timestamptz NOT NULL," +
			" until timestamptz NOT NULL, fingerprint bytea NOT NULL, operation bytea NOT NULL, outcome bytea)",
		"CREATE INDEX ON plain (until)",
		"CREATE TABLE payments (number bigserial PRIMARY KEY, customer text NOT NULL, cents bigint NOT NULL, note text NOT NULL)",
	},
	insert: "INSERT INTO plain VALUES ($1, $2, 1, now(), now() + interval '30 days', $3, $4)",
	update: "UPDATE plain SET state = 2, at = now(), until = now() + interval '1 day', outcome = $1" +
		" WHERE id = $2 AND owner = $3 AND state = 1",
	read:   "SELECT owner, state, fingerprint, operation, outcome FROM plain WHERE id = $1",
	effect: "INSERT INTO payments (customer, cents, note) VALUES ('customer 7', $1, 'two tickets, row 12')",
	keep:   []string{"CREATE TABLE kept_records AS TABLE onceward.records", "CREATE TABLE kept_plain AS TABLE plain"},
	reset: []string{
		"TRUNCATE onceward.records, onceward.trail, plain, payments", "CHECKPOINT",
		"INSERT INTO onceward.records TABLE kept_records", "INSERT INTO plain TABLE kept_plain", "ANALYZE onceward.records, plain",
	},
	// What ANALYZE leaves of old statistics in the catalog would be tidied up by whoever reads it next, and that is logged.
	settle:  []string{"ANALYZE", "VACUUM", "CHECKPOINT"},
	logged:  "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint",
	version: "SHOW server_version",
}

type postgresClient struct {
	ctx           context.Context //nolint:containedctx // that of all its calls
	pool, inHaste *pgxpool.Pool
}

func openPostgresClient(ctx context.Context, d *database) (_ sqlClient, err error) {
	if _, err := pgstore.Migrate(ctx, d.server.url, pgstore.Latest, nil); err != nil {
		return nil, err
	}
	c := &postgresClient{ctx: ctx}
	// The pools take their size from the URL.
	if c.pool, err = pgxpool.New(ctx, d.server.url); err != nil {
		return nil, err
	}
	d.closing(c.pool.Close)
	if c.inHaste, err = pgxpool.New(ctx, d.server.url+"&synchronous_commit=off"); err != nil {
		return nil, err
	}
	d.closing(c.inHaste.Close)
	return c, nil
}

func (c *postgresClient) exec(statement string, args ...any) (int64, error) {
	tag, err := c.pool.Exec(c.ctx, statement, args...)
	return tag.RowsAffected(), err
}

func (c *postgresClient) row(statement string, args ...any) scanner {
	return c.pool.QueryRow(c.ctx, statement, args...)
}

// prepare has nothing to do: pgx remembers by itself what it was asked.
func (*postgresClient) prepare(...string) error { return nil }

func (c *postgresClient) hasty() (sqlClient, func() error, error) {
	return &postgresClient{ctx: c.ctx, pool: c.inHaste}, func() error { return nil }, nil
}

func (c *postgresClient) openStore(audit driver.AuditLevel) (sqlStore, error) {
	return pgstore.New(c.pool, &pgstore.Options{Audit: audit, Logger: slog.New(slog.DiscardHandler)})
}

func (c *postgresClient) doTx(guard *onceward.Guard, store driver.Store, n int, told func()) (string, error) {
	s := store.(*pgstore.Store) //nolint:forcetypeassert // it is of openStore
	return pgstore.DoTx(c.ctx, guard, s, paymentKey(n), n, func(ctx context.Context, tx pgx.Tx) (string, error) {
		told()
		_, err := tx.Exec(ctx, postgresDialect.effect, n)
		return theReceipt, err
	})
}
