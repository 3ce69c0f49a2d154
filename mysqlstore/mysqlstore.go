// Package mysqlstore keeps records in MySQL or MariaDB, beside the data that the operations change, so that any number of
// processes share keys, and effect and outcome can be committed together.
//
// It is tested on MariaDB only. Its statements are those that MySQL 8 takes too, but nobody has run them there.
//
// # What is promised
//
// With [DoTx], or [Store.Tx] under a guard, an effect made in the same transaction happens exactly once per key during the
// retention. Without a transaction an operation under hold starts at most once per key.
//
// Both hold on one server that writes each commit to its disk (innodb_flush_log_at_trx_commit 1, and sync_binlog 1 where there
// is a binary log). Elsewhere it is best effort: a crash forgets what was acknowledged last, and so does a failover to a replica
// that lags. [Store.Promise] says which it is here and why, and New logs it. That the server has replicas it cannot see; reads
// and writes always go where the pool leads, so let that be the primary.
//
// # Tables
//
// One row of onceward_records is one key. Whatever is opaque is BINARY or BLOB, so that no collation takes two keys for one.
// Instants are UTC by the server's clock, which alone judges them, so that time zones and summer time do not matter. A row
// that a later version wrote, or that is damaged, answers [driver.ErrUndecodable] and is never touched. The view onceward_keys
// is for people. New never changes tables; [Migrate] does, as does onceward migrate up.
//
// Expired rows stay until they are swept, which the guard does.
//
// # Audit trail
//
// With [Options].Audit each transition is a transaction that also writes an entry to onceward_trail. The table is partitioned
// by weeks: Sweep makes the next ones, and drops those of which all entries are over. Without the right to do so it deletes
// row by row, and the Promise says so.
//
// # Rights
//
// The account of [Migrate] needs CREATE, DROP, INDEX, CREATE VIEW, SELECT, INSERT and DELETE. The account of the store needs:
//
//	GRANT SELECT, INSERT, UPDATE, DELETE ON app.onceward_records TO onceward;
//	GRANT SELECT ON app.onceward_migrations TO onceward;
//	GRANT SELECT, INSERT, DELETE ON app.onceward_trail TO onceward; -- this and the next for an audit trail
//	GRANT ALTER, CREATE, DROP ON app.onceward_trail TO onceward;    -- to make and drop partitions
package mysqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/intx"
	"github.com/onceward/onceward/internal/waiting"
)

// Options are the settings of a [Store].
type Options struct {
	// Prefix is what the names of the store's tables begin with: up to 32 letters, digits and underscores. Stores of one prefix
	// in one database share keys. Defaults to "onceward_".
	Prefix string
	// BestEffort says that it is known that this server keeps no promise: it is then logged as information instead of as a
	// warning. Defaults to false.
	BestEffort bool
	// Audit says which steps the audit trail keeps, see [Store.History]. With it every transition takes about seven round
	// trips instead of one. Defaults to driver.AuditOff.
	Audit driver.AuditLevel
	// AuditRetention is how long the trail keeps an entry, by the options of the process that reads or sweeps. Negative is for
	// ever. Defaults to 90 days.
	AuditRetention time.Duration
	// Logger is told what the server can promise, and about records that cannot be read when they are listed. Defaults to
	// [slog.Default].
	Logger *slog.Logger
}

const (
	defaultPrefix         = "onceward_"
	defaultAuditRetention = 90 * 24 * time.Hour
)

// Store is a [driver.Store], a [driver.Sweeper], a [driver.Lister], a [driver.Waiter] and a [driver.Historian]. It is safe for
// concurrent use.
//
// A context that has already ended is reported before anything is done. One that ends during a call makes the call return at
// once: what was asked for may still happen, wholly or not at all.
type Store struct {
	stmt         statements
	text         map[string]string // of all statements, by name
	db           *sql.DB
	prefix       string
	log          *slog.Logger
	promise      Promise
	dialect      dialect
	packet       int  // max_allowed_packet
	timeoutIsAll bool // innodb_rollback_on_timeout: a lock that is not had at once undoes the transaction, not only the statement
	prepared     []*sql.Stmt
	close        func()

	audit          driver.AuditLevel
	auditRetention time.Duration
	byRow          atomic.Bool // entries of the trail are deleted one by one, because partitions may not be dropped

	waiting      *waiting.Poller
	transactions *intx.Transactions[*sql.Tx]
}

var _ interface {
	driver.Store
	driver.Sweeper
	driver.Lister
	driver.Waiter
	driver.Historian
} = (*Store)(nil)

// patience is for what New asks the server.
const patience = 10 * time.Second

// New returns a store on a pool, which stays the caller's. The pool's database has to hold the tables, see [Migrate]. New asks
// the server what it is, on one connection of the pool, and refuses a server that cannot be used, and a pool whose connections
// have autocommit off, a completion_type or the isolation READ UNCOMMITTED: the error says what to do. None of its other settings
// matter. Nobody may give a connection back to the pool inside a transaction, as after a statement BEGIN. Nil options are the
// defaults.
func New(db *sql.DB, o *Options) (*Store, error) {
	s, err := newStore(db, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	facts, err := inspect(ctx, db)
	if err != nil {
		return nil, failure(err)
	}
	if err := s.settle(facts, o); err != nil {
		return nil, err
	}
	if err := s.checkSchema(ctx); err != nil {
		return nil, err
	}
	if err := s.prepare(ctx); err != nil {
		s.Close()
		return nil, failure(err)
	}
	if s.audit != driver.AuditOff {
		if err := s.tidyTrail(ctx); err != nil {
			s.Close()
			return nil, err
		}
	}
	if s.byRow.Load() {
		s.promise.Notes = append(s.promise.Notes, noPartitions)
	}
	return s, nil
}

var prefixes = regexp.MustCompile(`^[A-Za-z0-9_]{1,32}$`)

func newStore(db *sql.DB, o *Options) (*Store, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	s := &Store{db: db, prefix: cmp.Or(opts.Prefix, defaultPrefix), log: opts.Logger}
	s.close = s.closeStatements
	s.text = s.texts() // again when the server is known
	s.waiting = waiting.New("mysqlstore", s.held)
	s.transactions = intx.New(engine{s})
	s.audit, s.auditRetention = opts.Audit, cmp.Or(opts.AuditRetention, defaultAuditRetention)
	if s.log == nil {
		s.log = slog.Default()
	}
	if !prefixes.MatchString(s.prefix) {
		return nil, fmt.Errorf("mysqlstore: Options.Prefix is %q: use up to 32 letters, digits and underscores", s.prefix)
	}
	if s.audit > driver.AuditAll {
		return nil, fmt.Errorf("mysqlstore: Options.Audit is %d: use driver.AuditOff, AuditTransitions or AuditAll", s.audit)
	}
	return s, nil
}

// settle decides what can be done and promised on a server.
func (s *Store) settle(f *facts, o *Options) error {
	promise, err := f.judge()
	if err != nil {
		return err
	}
	s.promise, s.dialect, s.packet = promise, f.dialect(), f.number("max_allowed_packet")
	s.timeoutIsAll = f.on("innodb_rollback_on_timeout")
	s.text = s.texts()
	level := slog.LevelInfo
	if len(promise.Doubts) > 0 && (o == nil || !o.BestEffort) {
		level = slog.LevelWarn
	}
	s.log.Log(context.Background(), level, "mysqlstore: "+promise.String(), "server", promise.Server, "prefix", s.prefix)
	return nil
}

// Promise is what the server could keep when the store was made.
func (s *Store) Promise() Promise { return s.promise }

// Close ends what the store began, and the connections if it was made by [Open]. Calls that are made later may fail in any
// way.
func (s *Store) Close() {
	s.waiting.Close()
	s.close()
}

// closeStatements waits for those who are using them, but not for a server that does not answer them.
func (s *Store) closeStatements() {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	_ = within(ctx, func() error {
		for _, st := range s.prepared {
			_ = st.Close()
		}
		return nil
	})
}
