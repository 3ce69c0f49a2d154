package mysqlstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/storetest"
)

const (
	unit = 800 * time.Millisecond
	// unsynced is for servers that nobody kills: calls are then short also on a busy disk.
	unsynced = "innodb_flush_log_at_trx_commit = 0"
)

func TestConformance(t *testing.T) {
	t.Parallel() // most of it is waiting
	server := testsvc.MariaDB(t, "max_connections = 500", unsynced)
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
	server := testsvc.MariaDB(t, "max_connections = 500")
	store := func(t testing.TB) driver.Store { return openAt(t, server.URL, nil) }
	storetest.Run(t, store, &storetest.Options{
		RealTime: true, Unit: unit, Runs: 2, Trail: trailOn(server),
		Crash: func(t testing.TB, s driver.Store) driver.Store {
			server.Kill()
			server.Restart()
			old := s.(*Store)
			return openAt(t, server.URL, &Options{Prefix: old.prefix, Audit: old.audit, AuditRetention: old.auditRetention})
		},
	})
}

// With an audit trail every transition is a transaction, so all rules are for that too.
func TestConformanceOfTransactions(t *testing.T) {
	t.Parallel() // as above
	server := testsvc.MariaDB(t, "max_connections = 500", unsynced)
	storetest.Run(t, func(t testing.TB) driver.Store {
		return openAt(t, server.URL, &Options{Audit: driver.AuditAll})
	}, &storetest.Options{RealTime: true, Unit: unit})
}

// Every twentieth chunk that comes back from the server is lost with its connection. Whoever is told that an outcome is
// unknown asks again, as the engine does.
func TestConformanceWithLostReplies(t *testing.T) {
	t.Parallel() // as above
	server := testsvc.MariaDB(t, "max_connections = 500", unsynced)
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
		return &insistent{Store: openThrough(t, proxy, server, surely.prefix), surely: surely}
	}, &storetest.Options{RealTime: true, Unit: unit})
	lost := proxy.Count(testsvc.DropReply)
	t.Logf("%d replies were lost", lost)
	check.True(t, lost > 100, "only %d replies were lost, which proves too little", lost)
}

// openThrough opens a store behind a proxy, again if it is spoilt.
func openThrough(t testing.TB, proxy *testsvc.Proxy, server *testsvc.Server, prefix string) *Store {
	t.Helper()
	url := strings.Replace(server.URL, server.Addr, proxy.Addr, 1)
	s, err := Open(url, &Options{Prefix: prefix, Logger: quiet})
	for try := 0; err != nil && try < 20; try++ {
		s, err = Open(url, &Options{Prefix: prefix, Logger: quiet})
	}
	check.NoError(t, err, "opening a store behind a proxy")
	t.Cleanup(s.Close)
	return s
}

// foreign puts a table of somebody else beside the store's, with a row that looks expired.
func foreign(t testing.TB, s driver.Store) (intact func() error) {
	mine := s.(*Store)
	execute(t, mine, "CREATE TABLE onceward_others AS SELECT 7 AS id, UTC_TIMESTAMP(6) - INTERVAL 1 DAY AS expires_at")
	return func() error {
		var id int
		return mine.db.QueryRowContext(bg, mine.named("SELECT id FROM onceward_others")).Scan(&id)
	}
}

// insistent asks again when a call failed, as the guard does. A Resolve is lost when it is repeated, and a Release when
// somebody else has acquired since, so they go another way.
type insistent struct {
	*Store

	surely *Store
}

func (s *insistent) insist(ctx context.Context, call func() error) error {
	err := call()
	for err != nil && !errors.Is(err, driver.ErrLost) && ctx.Err() == nil {
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
