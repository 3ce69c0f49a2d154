package mysqlstore

import (
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/storetest"
)

const (
	unit = 400 * time.Millisecond
	// unsynced is for servers that nobody kills: calls are then short also on a busy disk.
	unsynced = "innodb_flush_log_at_trx_commit = 0"
)

func TestConformance(t *testing.T) {
	t.Parallel() // most of it is waiting
	server := testsvc.MariaDB(t, "max_connections = 500", unsynced)
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
	}, &storetest.Options{RealTime: true, Parallel: true, Unit: unit})
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
