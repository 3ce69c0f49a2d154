package diskstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
)

const (
	defaultFloor   = 256 << 20
	defaultBallast = 32 << 20

	// bucketWidth is part of the format. A longer one makes signs of life cheaper and sweeping later.
	bucketWidth = time.Minute
)

// Options are the settings of a [Store].
type Options struct {
	// FreeSpaceFloor is how many bytes have to be free on the disk for a new key to be taken; below, Acquire of a new key
	// is refused with [driver.ErrFull]. What is left is for the keys that are held, and for the work of the database,
	// which takes less memory and rewrites smaller parts when the floor is lower, down to 1 MiB: a lower one is slower.
	// Let it be several times as large as the largest outcome. Negative means none. Defaults to 256 MiB.
	FreeSpaceFloor int64
	// Ballast is the size in bytes of a file that is deleted when the disk is full nevertheless, so that the keys that
	// are held can still be completed. Negative means none. Defaults to 32 MiB.
	Ballast int64
	// Audit says which steps the audit trail keeps, see [Store.History]. Defaults to driver.AuditOff.
	Audit driver.AuditLevel
	// AuditRetention is how long the trail keeps an entry, also one that was kept under other options. Negative is for
	// ever. Defaults to 90 days.
	AuditRetention time.Duration
	// Logger is told about failures of the disk and about records that cannot be read, never about keys or outcomes.
	// Defaults to [slog.Default].
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var full Options
	if o != nil {
		full = *o
	}
	if full.FreeSpaceFloor == 0 {
		full.FreeSpaceFloor = defaultFloor
	}
	if full.Ballast == 0 {
		full.Ballast = defaultBallast
	}
	if full.AuditRetention == 0 {
		full.AuditRetention = defaultAuditRetention
	}
	if full.Logger == nil {
		full.Logger = slog.Default()
	}
	return full
}

// Store is a [driver.Store], a [driver.Sweeper], a [driver.Lister] and a [driver.Historian]. It is safe for concurrent use
// and belongs to one process; see the package for what it promises.
//
// A context that has already ended is reported before anything is done. One that ends during a call makes the call return
// at once with an error that says so: what was asked for may still happen, wholly or not at all.
type Store struct {
	db    *pebble.DB
	disk  *disk
	lock  *pebble.Lock
	log   *slog.Logger
	dir   directory
	width time.Duration // bucketWidth but in tests

	// Time is the wall clock's when the store was opened, in nanoseconds since 1970, and what passed since then by the
	// monotonic clock. Setting the machine's clock thus ends no lease and no record early while the store is open.
	epoch  int64
	opened time.Time

	stripes [4096]chan struct{}
	queue   queue
	sizes   sizes
	inUse   sync.RWMutex  // held for reading by every call, and by commits that outlive their call
	swept   atomic.Uint64 // the first bucket that may hold something to sweep
	trail   trail

	failing sync.Once
	cause   error // set before failed is closed
	failed  chan struct{}
	closing sync.Once
	closed  error
}

var _ interface {
	driver.Store
	driver.Sweeper
	driver.Lister
	driver.Historian
} = (*Store)(nil)

// Open opens the store in dir, and creates it if dir is empty or does not exist. Nil options are the defaults.
//
// It refuses a directory that another process has open, one that holds something else, one of a later version, and one
// that is damaged; and it creates none on a disk that is smaller than floor and ballast, where every key would be refused.
// The error says which, and what to do.
func Open(dir string, o *Options) (*Store, error) {
	return open(dir, o, vfs.Default)
}

func open(dir string, o *Options, fs vfs.FS) (*Store, error) {
	opts := o.withDefaults()
	if opts.Audit > driver.AuditAll {
		return nil, fmt.Errorf("diskstore: Options.Audit is %d: use driver.AuditOff, AuditTransitions or AuditAll", opts.Audit)
	}
	s := &Store{log: opts.Logger, width: bucketWidth, opened: time.Now(), failed: make(chan struct{})}
	s.epoch = max(0, s.opened.UnixNano())
	s.trail.level, s.trail.retain = opts.Audit, opts.AuditRetention
	s.disk = newDisk(fs, dir, max(0, opts.FreeSpaceFloor), max(0, opts.Ballast), s.log, s.fail)
	s.dir = directory{fs: s.disk, path: dir}
	s.sizes = sizesFor(s.disk.floor)
	for i := range s.stripes {
		s.stripes[i] = make(chan struct{}, 1)
	}
	lock, created, err := s.dir.claim()
	if err != nil {
		return nil, err
	}
	s.lock = lock
	if err := s.disk.restoreBallast(); err != nil {
		s.log.Warn("diskstore: no ballast", "dir", dir, "err", brief(err))
	}
	s.disk.pebbled.Store(true)
	done := make(chan error, 1)
	go func() { done <- s.openDB(created) }() // it does not return from a failure of the disk
	select {
	case err = <-done:
	case <-s.failed:
	}
	if err = errors.Join(err, s.failure()); err != nil {
		s.disk.park()
		err = fmt.Errorf("diskstore: %s cannot be opened: make room if the disk is full, restore a backup if it is damaged: %w", dir, err)
		return nil, errors.Join(err, s.disk.unlock())
	}
	s.disk.patient.Store(true)
	if created {
		s.log.Info("diskstore: new, so there are no keys yet", "dir", dir)
	}
	return s, nil
}

// openDB opens the database. A new one is opened twice: the log that is written while it is created has no protection
// against flipped bits, and so must not hold any record.
func (s *Store) openDB(created bool) error {
	var err error
	if created {
		if err = s.dir.wipe(); err != nil {
			return err
		}
		if s.db, err = s.openPebble(created); err == nil {
			err = errors.Join(s.db.Close(), s.failure())
		}
		if err == nil {
			err = s.dir.finish()
		}
		if err != nil {
			return err
		}
	}
	if err = s.dir.checkLogs(); err != nil {
		return err
	}
	s.db, err = s.openPebble(false)
	return err
}

// Close waits for the calls that are under way and closes the store; closing again does nothing. Calls that are made
// meanwhile or later are refused with [driver.ErrUnavailable].
//
// What was acknowledged is durable without Close. It moves all records out of the log, so that damage to the files of a
// closed store is found wherever it is.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.disk.giveUp() // nobody waits for a full disk any longer
		shut := make(chan error, 1)
		go func() {
			s.inUse.Lock() // for ever, so that every later call is refused
			shut <- s.shut()
		}()
		select {
		case s.closed = <-shut:
		case <-s.failed:
		}
		if s.failure() != nil {
			s.closed = s.abandon()
		}
	})
	return s.closed
}

func (s *Store) shut() error {
	if err := errors.Join(s.db.Flush(), s.db.Close()); err != nil {
		s.fail(err)
		return err
	}
	return s.lock.Close()
}

// abandon leaves a database that has failed: closing it could wait for ever, for what it failed at. It writes nothing any
// more, so that the directory can be opened again.
func (s *Store) abandon() error {
	s.disk.park()
	return errors.Join(s.unavailable(), s.disk.unlock())
}

// fail makes the store unavailable for good. After an error of a write or a sync nobody knows what is on the disk, and a
// second sync that succeeds proves nothing; opening again reads it.
func (s *Store) fail(err error) {
	s.failing.Do(func() {
		s.cause = err
		close(s.failed)
		s.log.Error("diskstore: failed, has to be opened again", "dir", s.dir.path, "err", brief(err))
		s.disk.giveUp()
		go s.disk.park() // not here: whoever fails may be writing
	})
}

// failure is why the store has failed, if it has.
func (s *Store) failure() error {
	select {
	case <-s.failed:
		return s.cause
	default:
		return nil
	}
}

func (s *Store) unavailable() error {
	return fmt.Errorf("%w: diskstore: %s has failed, close it and open it again: %w",
		driver.ErrUnavailable, s.dir.path, s.failure())
}

func (s *Store) unknown() error {
	return fmt.Errorf("diskstore: outcome unknown: %s failed: %w", s.dir.path, s.failure())
}

func (s *Store) now() int64 { return s.epoch + int64(time.Since(s.opened)) }

func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("diskstore: nothing done: %w", err)
	}
	return nil
}
