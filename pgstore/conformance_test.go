package pgstore

import (
	"context"
	"errors"
	"log/slog"
	"strings"
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
const unit = 600 * time.Millisecond

var (
	bg    = context.Background()
	quiet = slog.New(slog.DiscardHandler)
)

func TestConformance(t *testing.T) {
	t.Parallel() // most of it is waiting
	server := testsvc.Postgres(t, "max_connections = 300")
	store := func(t testing.TB) driver.Store { return openAt(t, server.URL, nil) }
	storetest.Run(t, store, &storetest.Options{RealTime: true, Unit: unit, Foreign: foreign, Trail: trailOn(server)})
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
		RealTime: true, Unit: 2 * unit, Runs: 2, Trail: trailOn(server),
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

// Every twentieth chunk that comes back from the server is lost with its connection. Whoever is told that an outcome is
// unknown asks again, as the engine does.
func TestConformanceWithLostReplies(t *testing.T) {
	t.Parallel() // as above
	server := testsvc.Postgres(t, "max_connections = 300")
	proxy := testsvc.NewProxy(t, server.Addr)
	proxy.Fault(func(c testsvc.Chunk) testsvc.Action {
		// The first few open the connection.
		if !c.Request && c.Number > 4 && c.Chance(1) < 0.05 {
			return testsvc.Action{Kind: testsvc.DropReply}
		}
		return testsvc.Action{}
	})
	storetest.Run(t, func(t testing.TB) driver.Store {
		surely := openAt(t, server.URL, nil)
		if strings.Contains(t.Name(), "/13_") {
			// There two calls meet: one that is made again after the other is rightly lost, which the rule cannot know.
			return surely
		}
		s := openThrough(t, proxy, server, surely.schema)
		return &insistent{Store: s, surely: surely}
	}, &storetest.Options{RealTime: true, Unit: 2 * unit}) // each loss is a new connection
	lost := proxy.Count(testsvc.DropReply)
	t.Logf("%d replies were lost", lost)
	check.True(t, lost > 100, "only %d replies were lost, which proves too little", lost)
}

// openThrough opens a store behind a proxy, again if it is spoilt.
func openThrough(t testing.TB, proxy *testsvc.Proxy, server *testsvc.Server, schema string) *Store {
	t.Helper()
	url := strings.Replace(server.URL, server.Addr, proxy.Addr, 1)
	s, err := Open(url, &Options{Schema: schema, Logger: quiet})
	for try := 0; err != nil && try < 20; try++ {
		s, err = Open(url, &Options{Schema: schema, Logger: quiet})
	}
	check.NoError(t, err, "opening a store behind a proxy")
	t.Cleanup(s.Close)
	return s
}

// insistent asks again when the outcome of a call is unknown. A Resolve is lost when it is repeated, and a Release when
// somebody else has acquired since, so they go another way.
type insistent struct {
	*Store

	surely *Store
}

func (s *insistent) insist(ctx context.Context, call func() error) error {
	err := call()
	for err != nil && !errors.Is(err, driver.ErrLost) && !errors.Is(err, driver.ErrUnavailable) && ctx.Err() == nil {
		// What the next try is told, it is not told about the first.
		again := call()
		if again == nil || errors.Is(again, driver.ErrLost) {
			return again
		}
	}
	return err
}

func (s *insistent) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	err = s.insist(ctx, func() error { g, err = s.Store.Acquire(ctx, id, c); return err })
	return g, err
}

func (s *insistent) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	return s.insist(ctx, func() error { return s.Store.Extend(ctx, id, o, e) })
}

func (s *insistent) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return s.insist(ctx, func() error { return s.Store.Complete(ctx, id, o, out) })
}

func (s *insistent) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return s.surely.Release(ctx, id, o, n)
}

func (s *insistent) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	return s.surely.Resolve(ctx, id, r)
}

func (s *insistent) Get(ctx context.Context, id driver.ID) (r driver.Record, err error) {
	err = s.insist(ctx, func() error { r, err = s.Store.Get(ctx, id); return err })
	return r, err
}

func (s *insistent) List(ctx context.Context, q driver.Query) (page []driver.Record, next string, err error) {
	return s.surely.List(ctx, q)
}

func (s *insistent) Sweep(ctx context.Context, limit int) (int, error) {
	return s.surely.Sweep(ctx, limit)
}
