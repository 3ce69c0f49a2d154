package pgstore

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/storetest"
)

// A commit waits for the disk, which this machine may share.
const unit = 400 * time.Millisecond

var (
	bg    = context.Background()
	quiet = slog.New(slog.DiscardHandler)
)

func TestConformance(t *testing.T) {
	t.Parallel() // most of it is waiting
	server := testsvc.Postgres(t, "max_connections = 300")
	store := func(t testing.TB) driver.Store { return openAt(t, server.URL, nil) }
	storetest.Run(t, store, &storetest.Options{RealTime: true, Parallel: true, Unit: unit, Foreign: foreign, Trail: trailOn(server)})
}

func trailOn(server *testsvc.Server) func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
	return func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
		return openAt(t, server.URL, &Options{Audit: level, AuditRetention: retain})
	}
}

// The power is cut as far as a process can be deprived of it.
func TestConformanceOfASurvivor(t *testing.T) {
	t.Parallel() // as above
	server := testsvc.Postgres(t, "max_connections = 300")
	store := func(t testing.TB) driver.Store { return openAt(t, server.URL, nil) }
	storetest.Run(t, store, &storetest.Options{
		RealTime: true, Unit: unit, Runs: 2, Trail: trailOn(server),
		Crash: func(t testing.TB, s driver.Store) driver.Store {
			server.Kill()
			server.Restart()
			old := s.(*Store)
			return openAt(t, server.URL, &Options{Schema: old.schema, Audit: old.audit, AuditRetention: old.retain})
		},
	})
}

// openAt opens a store that is closed at the end. Without a schema it gets one of its own.
func openAt(t testing.TB, url string, o *Options) *Store {
	t.Helper()
	var opts Options
	if o != nil {
		opts = *o
	}
	opts.Logger = quiet
	if opts.Schema == "" {
		opts.Schema = testsvc.Name()
		_, err := Migrate(bg, url, Latest, &opts)
		check.NoError(t, err, "migrating")
	}
	s, err := Open(url, &opts)
	check.NoError(t, err, "opening a store")
	t.Cleanup(s.Close)
	return s
}

func poolOf(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(bg, url)
	check.NoError(t, err, "connecting")
	t.Cleanup(pool.Close)
	return pool
}

// execute is a statement outside of the store, on its schema.
func execute(t testing.TB, s *Store, statement string, args ...any) {
	t.Helper()
	_, err := s.pool.Exec(bg, inSchema(statement, s.schema), args...)
	check.NoError(t, err, "%s", statement)
}

// ask is a statement outside of the store, on its schema, that answers one value.
func ask[T any](t testing.TB, s *Store, statement string, args ...any) (v T) {
	t.Helper()
	check.NoError(t, s.pool.QueryRow(bg, inSchema(statement, s.schema), args...).Scan(&v), "%s", statement)
	return v
}

// foreign puts a table of somebody else into the schema, with rows that look expired.
func foreign(t testing.TB, s driver.Store) (intact func() error) {
	pg := s.(*Store)
	execute(t, pg, "CREATE TABLE onceward.others AS SELECT 7 AS id, now() - interval '1 day' AS expires_at")
	return func() error {
		var id int
		return pg.pool.QueryRow(bg, "SELECT id FROM "+pgx.Identifier{pg.schema, "others"}.Sanitize()).Scan(&id)
	}
}
