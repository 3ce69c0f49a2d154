package mysqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/migration"
)

// Migrations are the files of the schema, NNNN_name.up.sql and NNNN_name.down.sql, with the default prefix, for tools such as
// goose, golang-migrate or Atlas. A statement ends with a semicolon at the end of its line. Each file notes its version in
// onceward_migrations, so that New knows it whoever has applied it.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Migration is one of the [Migrations]: an int Version, a string Name, and the time.Time Applied, which is when it was, by the
// server's clock, and zero if it is not.
type Migration = migration.Migration

// Latest is the version that this package works with.
const Latest = 2

// Migrate brings the tables that the options name to a version: [Latest], or 0 to remove all of them. It returns what it
// applied or took back, in that order. Of those who migrate at the same moment one does it. The server commits each change of
// a table by itself, so a step that was interrupted is half done; it can be made again. The URL is as for [Open]. Nil options
// are the defaults.
func Migrate(ctx context.Context, address string, version int, o *Options) (done []Migration, err error) {
	if version < 0 || version > Latest {
		return nil, fmt.Errorf("mysqlstore: there is no version %d: use 0 to %d", version, Latest)
	}
	err = onSchema(ctx, address, o, func(s *Store) error {
		if err := s.lockSchema(ctx); err != nil {
			return err
		}
		for {
			step, ok, err := s.stepTo(ctx, version)
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
	err = onSchema(ctx, address, o, func(s *Store) error {
		applied, err := s.applied(ctx)
		all = applied.List(Migrations)
		return err
	})
	return all, err
}

// onSchema is for calls that come before there is a store. They have one connection, so that a lock of its session is theirs.
func onSchema(ctx context.Context, address string, o *Options, do func(s *Store) error) error {
	db, err := connect(address)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	s, err := newStore(db, o)
	if err != nil {
		return err
	}
	if err := db.PingContext(ctx); err != nil {
		return undone(err)
	}
	return do(s)
}

// lockSchema waits for others who migrate. The lock goes with the connection.
func (s *Store) lockSchema(ctx context.Context) error {
	var got sql.NullInt64
	const text = "SELECT GET_LOCK(CONCAT('onceward ', SHA1(CONCAT(DATABASE(), '.', ?))), 60)"
	if err := s.db.QueryRowContext(ctx, text, s.prefix).Scan(&got); err != nil {
		return failure(err)
	}
	if got.Int64 != 1 {
		return fmt.Errorf("%w: mysqlstore: somebody else is migrating for more than a minute: try again later", driver.ErrUnavailable)
	}
	return nil
}

// stepTo makes one step on the way to a version, if there is one to make.
func (s *Store) stepTo(ctx context.Context, version int) (m Migration, ok bool, err error) {
	applied, err := s.applied(ctx)
	if err != nil {
		return m, false, err
	}
	next, ok := applied.Next(Migrations, version)
	if !ok {
		return m, false, nil
	}
	for statement := range strings.SplitSeq(s.named(next.Statements), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return m, false, fmt.Errorf("migration %s: %w", next.File, failure(err))
		}
	}
	return next.Migration, true, nil
}

// applied are the migrations that have been, by version. No table is none.
func (s *Store) applied(ctx context.Context) (migration.Applied, error) {
	applied := make(migration.Applied)
	rows, err := s.db.QueryContext(ctx, s.text["applied"])
	if number(err) == noTable {
		return applied, nil
	}
	if err != nil {
		return nil, failure(err)
	}
	defer rows.Close()
	for rows.Next() {
		var version int
		var at int64
		if err := rows.Scan(&version, &at); err != nil {
			return nil, failure(err)
		}
		applied[version] = time.UnixMicro(at)
	}
	return applied, failure(rows.Err())
}

// checkSchema refuses tables of another version.
func (s *Store) checkSchema(ctx context.Context) error {
	applied, err := s.applied(ctx)
	if err != nil {
		return err
	}
	err = applied.Check(Latest, migration.Words{
		None: fmt.Sprintf("mysqlstore: there are no tables %s*", s.prefix),
		Have: fmt.Sprintf("mysqlstore: the tables %s* have", s.prefix),
	})
	if err != nil {
		return err
	}
	return s.checkEngine(ctx)
}

// checkEngine looks for tables without transactions, which some servers make when InnoDB is not there.
func (s *Store) checkEngine(ctx context.Context) error {
	var table, engine string
	const text = `SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES
		WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN (?, ?) AND ENGINE <> 'InnoDB' LIMIT 1`
	err := s.db.QueryRowContext(ctx, text, s.prefix+"records", s.prefix+"trail").Scan(&table, &engine)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return failure(err)
	default:
		return fmt.Errorf("mysqlstore: the table %s has the engine %s, which knows no transactions: ALTER TABLE %s ENGINE = InnoDB",
			table, engine, table)
	}
}
