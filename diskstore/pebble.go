package diskstore

import (
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// Sizes in bytes of what pebble works with. They follow from the free-space floor, since below it that room has to suffice
// for what is held: up to five logs as long as a memtable, and the copies that a compaction makes before it deletes what
// it has read, mostly two levels. With the default floor and above they are pebble's own, but for the largest tables.
type sizes struct {
	memTable int64
	table    int64 // in the first level, doubled in each one below as far as memTable
	level    int64 // the first level below that
	group    int   // steps that are committed at once
}

func sizesFor(floor int64) sizes {
	if floor == 0 {
		floor = defaultFloor
	}
	floor = min(max(floor, 1<<20), defaultFloor)
	return sizes{memTable: floor / 16, table: max(floor/128, 32<<10), level: floor / 4, group: int(floor / 256)}
}

func (s *Store) openPebble(created bool) (db *pebble.DB, err error) {
	defer func() { // damaged files can make it panic
		if p := recover(); p != nil {
			err = fmt.Errorf("pebble: %v", p)
		}
	}()
	size := s.sizes
	o := &pebble.Options{
		FS:                          s.disk,
		Lock:                        s.lock,
		Logger:                      pebbleLog{s},
		FormatMajorVersion:          pebble.FormatNewest,
		ErrorIfNotExists:            !created,
		MemTableSize:                uint64(size.memTable),
		MemTableStopWritesThreshold: 4,
		CacheSize:                   2*size.memTable + 16<<20, // the memtables are taken out of it
		LBaseMaxBytes:               size.level,
		MaxManifestFileSize:         size.memTable,
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { s.log.Error("diskstore: in the background", "dir", s.dir.path, "err", brief(err)) },
			// By default this is fatal. One block that cannot be read makes its keys unavailable and no others.
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				s.log.Error("diskstore: damaged", "dir", s.dir.path, "err", info)
			},
		},
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10) // most Acquires look for a key that is not there
		o.TargetFileSizes[i] = min(size.table<<i, size.memTable)
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

// brief is pebble's word about damage, without the stack and the bytes that may follow it.
func brief(err error) string {
	const most = 200
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line[:min(len(line), most)]
}
