package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Migration is one of the [Migrations].
type Migration struct {
	Version int
	Name    string
	// Applied is when it was, by the server's clock; zero if it is not.
	Applied time.Time
}

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
			step, ok, err := migrate1(ctx, conn, schema, version)
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
		for _, m := range migrations() {
			m.Applied = applied[m.Version]
			all = append(all, m)
		}
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

// migrate1 makes one step to a version, if there is one to make. Its transaction holds a lock, so that the next one sees what
// it did; a lock of the session would not survive PgBouncer.
func migrate1(ctx context.Context, conn *pgx.Conn, schema string, to int) (step Migration, ok bool, err error) {
	tx, err := conn.Begin(ctx)
	if err != nil {
		return step, false, failure(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing after Commit
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", "onceward migrate "+schema); err != nil {
		return step, false, failure(err)
	}
	applied, err := appliedIn(ctx, tx, schema)
	if err != nil {
		return step, false, err
	}
	step, file := nextStep(applied, to)
	if file == "" {
		return step, false, nil
	}
	text, err := Migrations.ReadFile("migrations/" + file)
	if err != nil {
		return step, false, fmt.Errorf("pgstore: %w", err)
	}
	if _, err := tx.Exec(ctx, inSchema(string(text), schema)); err != nil {
		return step, false, fmt.Errorf("migration %s: %w", file, failure(err))
	}
	return step, true, failure(tx.Commit(ctx))
}

// nextStep is the migration to make on the way, and its file; there is none at the end of it.
func nextStep(applied map[int]time.Time, to int) (m Migration, file string) {
	all := migrations()
	for _, m := range all {
		if m.Version <= to && applied[m.Version].IsZero() {
			return m, m.file("up")
		}
	}
	for _, m := range slices.Backward(all) {
		if m.Version > to && !applied[m.Version].IsZero() {
			return m, m.file("down")
		}
	}
	return m, ""
}

func (m *Migration) file(direction string) string {
	return fmt.Sprintf("%04d_%s.%s.sql", m.Version, m.Name, direction)
}

// migrations are the ones of this package in order.
func migrations() (all []Migration) {
	entries, err := Migrations.ReadDir("migrations")
	if err != nil {
		panic(err) // it is embedded
	}
	for _, entry := range entries {
		number, rest, _ := strings.Cut(entry.Name(), "_")
		if name, ok := strings.CutSuffix(rest, ".up.sql"); ok {
			version, err := strconv.Atoi(number)
			if err != nil {
				panic(err) // it is embedded
			}
			all = append(all, Migration{Version: version, Name: name})
		}
	}
	return all
}

// queryer is a connection, a pool or a transaction.
type queryer interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func appliedIn(ctx context.Context, on queryer, schema string) (map[int]time.Time, error) {
	applied := make(map[int]time.Time)
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

// checkVersion refuses a schema of another version. One that a later release left behind is refused too: it may keep what this
// release would not look at.
func checkVersion(ctx context.Context, pool *pgxpool.Pool, schema string) error {
	applied, err := appliedIn(ctx, pool, schema)
	if err != nil {
		return err
	}
	newest := 0
	for version := range applied {
		newest = max(newest, version)
	}
	switch {
	case newest == 0:
		return fmt.Errorf("pgstore: there are no tables in the schema %q, version %d is wanted: %s", schema, Latest, migrate)
	case newest < Latest || len(applied) < Latest:
		return fmt.Errorf("pgstore: the schema %q has version %d, version %d is wanted: %s", schema, newest, Latest, migrate)
	case newest > Latest:
		return fmt.Errorf("pgstore: the schema %q has version %d, of a later release; version %d is wanted: use that release, "+
			"or its onceward migrate down", schema, newest, Latest)
	}
	return nil
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
