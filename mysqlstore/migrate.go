package mysqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
)

// Migrations are the files of the schema, NNNN_name.up.sql and NNNN_name.down.sql, with the default prefix, for tools such as
// goose, golang-migrate or Atlas. A statement ends with a semicolon at the end of its line. Each file notes its version in
// onceward_migrations, so that New knows it whoever has applied it.
//
//go:embed migrations/*.sql
var Migrations embed.FS

// Migration is one of the [Migrations].
type Migration struct {
	Version int
	Name    string
	// Applied is when it was, by the server's clock; zero if it is not.
	Applied time.Time
}

// Latest is the version that this package works with.
const Latest = 2

const command = "run onceward migrate up --store URL"

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
			step, err := s.migrate1(ctx, version)
			if err != nil || step == nil {
				return err
			}
			done = append(done, *step)
		}
	})
	return done, err
}

// MigrationStatus lists all migrations, with the moment at which those that are applied were.
func MigrationStatus(ctx context.Context, address string, o *Options) (all []Migration, err error) {
	err = onSchema(ctx, address, o, func(s *Store) error {
		applied, err := s.applied(ctx)
		for _, m := range migrations() {
			m.Applied = applied[m.Version]
			all = append(all, m)
		}
		return err
	})
	return all, err
}

// onSchema is for calls that come before there is a store. They have one connection, so that a lock of its session is theirs.
func onSchema(ctx context.Context, address string, o *Options, do func(s *Store) error) error {
	db, err := connect(address, 1)
	if err != nil {
		return err
	}
	defer db.Close()
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

// migrate1 makes one step to a version, if there is one to make.
func (s *Store) migrate1(ctx context.Context, to int) (*Migration, error) {
	applied, err := s.applied(ctx)
	if err != nil {
		return nil, err
	}
	step, file := nextStep(applied, to)
	if step == nil {
		return nil, nil //nolint:nilnil // there is nothing to do
	}
	text, err := Migrations.ReadFile("migrations/" + file)
	if err != nil {
		return nil, fmt.Errorf("mysqlstore: %w", err)
	}
	for statement := range strings.SplitSeq(s.named(string(text)), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := s.db.ExecContext(ctx, statement); err != nil {
			return nil, fmt.Errorf("migration %s: %w", file, failure(err))
		}
	}
	return step, nil
}

// nextStep is the migration to make on the way, and its file; nil at the end of it.
func nextStep(applied map[int]time.Time, to int) (*Migration, string) {
	all := migrations()
	for _, m := range all {
		if m.Version <= to && applied[m.Version].IsZero() {
			return &m, m.file("up")
		}
	}
	for _, m := range slices.Backward(all) {
		if m.Version > to && !applied[m.Version].IsZero() {
			return &m, m.file("down")
		}
	}
	return nil, ""
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

// applied are the migrations that have been, by version. No table is none.
func (s *Store) applied(ctx context.Context) (map[int]time.Time, error) {
	applied := make(map[int]time.Time)
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

// checkSchema refuses tables of another version. Those that a later release left behind are refused too: they may keep what
// this release would not look at.
func (s *Store) checkSchema(ctx context.Context) error {
	applied, err := s.applied(ctx)
	if err != nil {
		return err
	}
	newest := 0
	for version := range applied {
		newest = max(newest, version)
	}
	switch {
	case newest == 0:
		return fmt.Errorf("mysqlstore: there are no tables %s*, version %d is wanted: %s", s.prefix, Latest, command)
	case newest < Latest || len(applied) < Latest:
		return fmt.Errorf("mysqlstore: the tables %s* have version %d, version %d is wanted: %s", s.prefix, newest, Latest, command)
	case newest > Latest:
		return fmt.Errorf("mysqlstore: the tables %s* have version %d, of a later release; version %d is wanted: use that release, "+
			"or its onceward migrate down", s.prefix, newest, Latest)
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
