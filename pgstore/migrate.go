package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceward/onceward/internal/migration"
)

// Migration is one of the [Migrations]: an int Version, a string Name, and the time.Time Applied, which is when it was, by the
// server's clock, and zero if it is not.
type Migration = migration.Migration

// Latest is the version that this package works with.
const Latest = 2

// Migrate brings the schema that the options name to a version: [Latest], or 0 to remove all of it. It returns what it
// applied or took back, in that order. Each step is a transaction of its own, and of those who migrate at the same moment
// one does it. The URL is as for [Open]. Nil options are the defaults.
func Migrate(ctx context.Context, address string, version int, o *Options) (done []Migration, err error) {
	if version < 0 || version > Latest {
		return nil, fmt.Errorf("pgstore: there is no version %d: use 0 to %d", version, Latest)
	}
	err = onSchema(ctx, address, o, func(conn *pgx.Conn, schema string) error {
		for {
			step, ok, err := stepTo(ctx, conn, schema, version)
			if err != nil || !ok {
				return err
			}
			done = append(done, step)
		}
	})
	return done, err
}

// MigrationStatus lists all migrations, with the moment at which those that are applied were.
func MigrationStatus(ctx context.Context, address string, o *Options) (all []Migration, err error) {
	err = onSchema(ctx, address, o, func(conn *pgx.Conn, schema string) error {
		applied, err := appliedIn(ctx, conn, schema)
		all = applied.List(Migrations)
		return err
	})
	return all, err
}

// onSchema is for calls that are rare, and that come before there is a store.
func onSchema(ctx context.Context, address string, o *Options, do func(conn *pgx.Conn, schema string) error) error {
	schema := defaultSchema
	if o != nil {
		schema = cmp.Or(o.Schema, defaultSchema)
	}
	if err := checkSchema(schema); err != nil {
		return err
	}
	config, err := parse(address)
	if err != nil {
		return err
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return unsent(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return do(conn, schema)
}

// stepTo makes one step on the way to a version, if there is one to make. Its transaction holds a lock, so that the next one
// sees what it did; a lock of the session would not survive PgBouncer.
func stepTo(ctx context.Context, conn *pgx.Conn, schema string, version int) (m Migration, ok bool, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return m, false, failure(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing after Commit
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "onceward migrate "+schema); err != nil {
		return m, false, failure(err)
	}
	applied, err := appliedIn(ctx, tx, schema)
	if err != nil {
		return m, false, err
	}
	next, ok := applied.Next(Migrations, version)
	if !ok {
		return m, false, nil
	}
	if _, err := tx.Exec(ctx, inSchema(next.Statements, schema)); err != nil {
		return m, false, fmt.Errorf("migration %s: %w", next.File, failure(err))
	}
	return next.Migration, true, failure(tx.Commit(ctx))
}

// queryer is a connection, a pool or a transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func appliedIn(ctx context.Context, on queryer, schema string) (migration.Applied, error) {
	applied := make(migration.Applied)
	var there bool
	// To ask for a table that is not there would end the transaction.
	err := on.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", pgx.Identifier{schema, "migrations"}.Sanitize()).Scan(&there)
	if err != nil || !there {
		return applied, failure(err)
	}
	rows, err := on.Query(ctx, inSchema("SELECT version, applied_at FROM onceward.migrations", schema))
	if err != nil {
		return nil, failure(err)
	}
	var version int
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&version, &at}, func() error {
		applied[version] = at
		return nil
	})
	return applied, failure(err)
}

// checkVersion refuses a schema of another version.
func checkVersion(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	applied, err := appliedIn(ctx, pool, schema)
	if err != nil {
		return err
	}
	return applied.Check(Latest, migration.Words{
		None: fmt.Sprintf("pgstore: there are no tables in the schema %q", schema),
		Have: fmt.Sprintf("pgstore: the schema %q has", schema),
	})
}

// reason is what is wrong with an address, without the address.
func reason(err error) string {
	var parsing *pgconn.ParseConfigError
	if errors.As(err, &parsing) {
		if inner := errors.Unwrap(parsing); inner != nil {
			return inner.Error()
		}
		return "it cannot be read as an address of PostgreSQL"
	}
	return err.Error()
}
