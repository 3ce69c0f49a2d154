// Package pgstore keeps records in PostgreSQL, so that any number of processes share keys, and an outcome can be committed
// in the same transaction as the effect that it tells of.
//
// # What is promised
//
// On one primary with fsync, full_page_writes and synchronous_commit on, as they are by default, an operation under hold
// starts at most once per key. With [DoTx], or with [Store.Tx] in a transaction of your own, an effect inside that transaction
// happens exactly once per key during the retention. A failover to a standby that is not synchronous forgets what had not
// arrived there: [Store.Promise] says which it is here and why, and New logs it.
//
// # Schema
//
// The tables are made by onceward migrate up --store URL, by [Migrate], or from [Migrations] by another tool. New refuses a
// schema of another version and never changes it. Each transition is one statement on the plain path. A replay writes
// nothing. Only the server's clock judges. A row of a later version, or one that is damaged, answers
// [driver.ErrUndecodable] and is never touched. Records that are over stay until they are swept: see [Store.Sweep].
//
// # Pools in front of the server
//
// No state of a session is used, so PgBouncer may give every transaction another connection. Pgx however keeps prepared
// statements, of which PgBouncer before 1.21, or with max_prepared_statements = 0, knows nothing: set
// default_query_exec_mode=cache_describe (or exec) in the URL then.
//
// # Rights
//
// The user of the service needs these. The one who owns the table trail, as whoever migrated does, also makes and drops its
// partitions in [Store.Sweep]; otherwise its entries are deleted row by row.
//
//	GRANT USAGE ON SCHEMA onceward TO service;
//	GRANT SELECT ON onceward.migrations TO service;
//	GRANT SELECT, INSERT, UPDATE, DELETE ON onceward.records TO service;
//	GRANT SELECT, INSERT, DELETE ON onceward.trail TO service;
//	GRANT USAGE ON SEQUENCE onceward.trail_seq TO service;
package pgstore

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/intx"
	"github.com/onceward/onceward/internal/waiting"
)

// Options are the settings of a [Store].
type Options struct {
	// Schema holds the tables: up to 48 lower-case letters, digits and underscores. Stores of one schema share keys.
	// Defaults to "onceward".
	Schema string
	// BestEffort says that it is known that this server keeps no promise: it is then logged as information instead of as a
	// warning. Defaults to false.
	BestEffort bool
	// Audit says which steps the audit trail keeps, see [Store.History]. Defaults to driver.AuditOff.
	Audit driver.AuditLevel
	// AuditRetention is how long the trail keeps an entry. Whoever sweeps removes what is over, by the options of its
	// process. Negative is for ever. Defaults to 90 days.
	AuditRetention time.Duration
	// Logger is told what the server can promise, and about records that cannot be read when they are listed. Defaults to
	// [slog.Default].
	Logger *slog.Logger
}

const defaultAuditRetention = 90 * 24 * time.Hour

// Store is a [driver.Store], a [driver.Sweeper], a [driver.Lister], a [driver.Waiter] and a [driver.Historian]. It is safe for
// concurrent use.
//
// A context that has already ended is reported before anything is done. One that ends during a call makes the call return
// at once: what was asked for may still happen, wholly or not at all.
type Store struct {
	verbs

	pool         *pgxpool.Pool
	schema       string
	log          *slog.Logger
	promise      Promise
	ownsTrail    bool                      // may make and drop its partitions
	retain       time.Duration             // of entries of the trail; negative is for ever
	alterTime    time.Duration             // which making partitions may take
	alterFailed  atomic.Pointer[time.Time] // when it last took longer
	waiting      *waiting.Poller
	crowd        *crowd
	transactions *intx.Transactions[pgx.Tx]
	close        func()
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

// New returns a store on a pool, which stays the caller's. It asks the server what it is, and refuses one that cannot be used,
// or whose schema is not of this version: the error says what to do. Nil options are the defaults.
func New(pool *pgxpool.Pool, o *Options) (*Store, error) {
	s, err := newStore(pool, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.promise, err = s.inspect(ctx); err != nil {
		return nil, err
	}
	if err := checkVersion(ctx, pool, s.schema); err != nil {
		return nil, err
	}
	level := slog.LevelInfo
	if len(s.promise.Doubts) > 0 && (o == nil || !o.BestEffort) {
		level = slog.LevelWarn
	}
	s.log.Log(ctx, level, "pgstore: "+s.promise.String(), "server", s.promise.Server, "schema", s.schema)
	return s, nil
}

func newStore(pool *pgxpool.Pool, o *Options) (*Store, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	opts.Schema = cmp.Or(opts.Schema, defaultSchema)
	if err := checkSchema(opts.Schema); err != nil {
		return nil, err
	}
	if opts.Audit > driver.AuditAll {
		return nil, fmt.Errorf("pgstore: Options.Audit is %d: use driver.AuditOff, AuditTransitions or AuditAll", opts.Audit)
	}
	s := &Store{
		pool: pool, schema: opts.Schema, log: opts.Logger,
		retain: cmp.Or(opts.AuditRetention, defaultAuditRetention), alterTime: alterTime,
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	sql := newStatements(opts.Schema, opts.Audit != driver.AuditOff)
	s.verbs = verbs{on: onPool{pool}, sql: sql, audit: opts.Audit, locks: locksOf(opts.Schema)}
	s.waiting = waiting.New("pgstore", s.leases)
	s.crowd = newCrowd(s)
	s.close = func() {
		s.waiting.Close()
		s.crowd.close()
	}
	s.transactions = intx.New(engine{s})
	return s, nil
}

// Promise is what the server could keep when the store was made.
func (s *Store) Promise() Promise { return s.promise }

// Close ends what waits for changes, and the connections if the store was made by [Open]. Calls that are made later may fail in
// any way.
func (s *Store) Close() { s.close() }
