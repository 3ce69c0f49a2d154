package diskstore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/onceward/onceward/driver"
)

// fail makes the store unavailable for good. After an error of a write or a sync nobody knows what is on the disk, and a
// second sync that succeeds proves nothing; opening again reads it.
func (s *Store) fail(err error) {
	s.failing.Do(func() {
		s.cause = err
		close(s.failed)
		s.log.Error("diskstore: failed, has to be opened again", "dir", s.dir.path, "err", err)
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

func (s *Store) openPebble(created bool) (db *pebble.DB, err error) {
	defer func() { // damaged files can make it panic
		if p := recover(); p != nil {
			err = fmt.Errorf("pebble: %v", p)
		}
	}()
	o := &pebble.Options{
		FS:                          s.disk,
		Lock:                        s.lock,
		Logger:                      pebbleLog{s},
		FormatMajorVersion:          pebble.FormatNewest,
		ErrorIfNotExists:            !created,
		MemTableSize:                16 << 20,
		MemTableStopWritesThreshold: 4,
		CacheSize:                   16 << 20,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { s.log.Error("diskstore: in the background", "dir", s.dir.path, "err", err) },
			// By default this is fatal. One block that cannot be read makes its keys unavailable and no others.
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				s.log.Error("diskstore: damaged", "dir", s.dir.path, "err", info)
			},
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most Acquires look for a key that is not there
	}
	return pebble.Open(s.dir.records(), o)
}

// pebbleLog is pebble's Logger. Its Fatalf returns, unlike the one that it replaces, which would end the process.
type pebbleLog struct{ store *Store }

func (pebbleLog) Infof(string, ...any) {}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.store.log.Error("diskstore: pebble: "+fmt.Sprintf(format, args...), "dir", l.store.dir.path)
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	l.store.fail(fmt.Errorf("pebble: "+format, args...))
}
