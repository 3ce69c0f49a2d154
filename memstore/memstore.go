// Package memstore keeps records in the memory of one process.
//
// Records die with the process. After a restart every key is new, so an operation that already took effect runs again
// when it is retried; and two processes know nothing of each other's keys. It is meant for tests, for demos, and for
// services of a single process that accept this.
//
// Memory is bounded, see [Options]. A full store refuses new keys and never drops a record before its time, because a
// forgotten key is an operation that runs twice. Keys that it already has can still be extended, completed, released and
// resolved.
package memstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward/driver"
)

const (
	defaultMaxRecords = 1_000_000
	defaultMaxBytes   = 1 << 30
)

// Options bounds the memory of a [Store], and sets its audit trail. A negative limit of records or bytes leaves no room at
// all: every new key is refused with an error that names the option.
type Options struct {
	// MaxRecords is how many keys the store holds, residues of released keys and expired records that were not swept
	// yet included. Defaults to 1,000,000.
	MaxRecords int
	// MaxBytes is roughly how much memory the records may take, outcomes included. Completing and resolving may exceed
	// it, since refusing an outcome would lose it; new keys then wait until there is room again. Defaults to 1 GiB.
	MaxBytes int64
	// Audit says which steps the audit trail keeps, see [Store.History]. Defaults to driver.AuditOff.
	Audit driver.AuditLevel
	// AuditRetention is how long the trail keeps an entry. Negative is for ever. Defaults to 90 days.
	AuditRetention time.Duration
	// AuditEntries is how many entries the trail holds; the oldest makes room for the next, because no key is refused for
	// the trail's sake. An entry takes about 300 bytes. Defaults to 100,000.
	AuditEntries int
}

// Store is a [driver.Store], a [driver.Sweeper], a [driver.Lister] and, with [Options].Audit, a [driver.Historian]. It is
// safe for concurrent use, starts no goroutines and needs no closing.
//
// A full store returns an error that is [driver.ErrFull] from Acquire of a new key, after it has tried to make room by
// removing expired records. Release of a key that it does not know needs room for the residue and is refused in the same
// way; repeat it, as after any refusal. A context that has already ended is reported before anything is done.
type Store struct {
	maxRecords int64
	maxBytes   int64
	epoch      time.Time // instants are durations since this one, by the monotonic clock

	records   atomic.Int64 // everything that is in a shard, whether expired or not
	bytes     atomic.Int64
	sweepFrom atomic.Int32 // the shard with which the next Sweep starts
	shards    [256]shard
	trail     trail
}

var _ interface {
	driver.Store
	driver.Sweeper
	driver.Lister
	driver.Historian
} = (*Store)(nil)

// A shard holds the records whose id starts with one byte value.
type shard struct {
	mu       sync.Mutex
	records  map[driver.ID]*record
	schedule schedule // the same records, by when Sweep has to look at them
	peak     int      // most records since the map was made
}

// New returns an empty store. Nil options are the defaults.
func New(o *Options) *Store {
	s := &Store{maxRecords: defaultMaxRecords, maxBytes: defaultMaxBytes, epoch: time.Now()}
	s.trail.init(o)
	if o != nil && o.MaxRecords != 0 {
		s.maxRecords = int64(o.MaxRecords)
	}
	if o != nil && o.MaxBytes != 0 {
		s.maxBytes = o.MaxBytes
	}
	for i := range s.shards {
		s.shards[i].records = make(map[driver.ID]*record)
	}
	return s
}

func (s *Store) now() time.Duration { return time.Since(s.epoch) }

// open enters the shard of id. The caller unlocks the shard's mutex. The record is nil if there is no trace of the key,
// and may be expired. The time is read inside, so that it never goes back for a record.
func (s *Store) open(id driver.ID) (*shard, *record, time.Duration) {
	sh := &s.shards[id[0]]
	sh.mu.Lock()
	return sh, sh.records[id], s.now()
}

func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memstore: nothing done: %w", err)
	}
	return nil
}
