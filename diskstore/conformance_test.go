package diskstore

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/storetest"
)

const unit = 100 * time.Millisecond

// Records of the suite expire within milliseconds.
func openBrief(t testing.TB, dir string, fs vfs.FS) *Store {
	s := openAt(t, dir, fs)
	s.width = time.Millisecond
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel() // most of it is waiting
	store := func(t testing.TB) driver.Store { return openBrief(t, t.TempDir(), vfs.Default) }
	storetest.Run(t, store, &storetest.Options{
		RealTime: true, Unit: unit, Full: smallStore,
		Trail: func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
			return openTrail(t, t.TempDir(), vfs.Default, level, retain)
		},
	})
}

// The power is cut in the memory of a file system that knows what was synced.
func TestConformanceOfASurvivor(t *testing.T) {
	t.Parallel()       // most of it is waiting
	var disks sync.Map // of the open stores
	reopen := func(t testing.TB, fs *vfs.MemFS) driver.Store {
		s := openBrief(t, "data", fs)
		disks.Store(s, fs)
		return s
	}
	storetest.Run(t, func(t testing.TB) driver.Store { return reopen(t, vfs.NewCrashableMem()) }, &storetest.Options{
		RealTime: true, Unit: unit, Runs: 4,
		Trail: func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
			fs := vfs.NewCrashableMem()
			s := openTrail(t, "data", fs, level, retain)
			disks.Store(s, fs)
			return s
		},
		Crash: func(t testing.TB, s driver.Store) driver.Store {
			fs, ok := disks.Load(s)
			check.True(t, ok, "an unknown store")
			return reopen(t, fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{}))
		},
	})
}

// openTrail opens a store that is closed at the end and keeps an audit trail.
func openTrail(t testing.TB, dir string, fs vfs.FS, level driver.AuditLevel, retain time.Duration) *Store {
	t.Helper()
	s, err := open(dir, &Options{FreeSpaceFloor: -1, Ballast: -1, Logger: quiet, Audit: level, AuditRetention: retain}, fs)
	check.NoError(t, err, "opening %s", dir)
	t.Cleanup(func() { check.NoError(t, s.Close(), "closing %s", dir) })
	return s
}

// openAt opens a store that takes every free byte and is closed at the end.
func openAt(t testing.TB, dir string, fs vfs.FS) *Store {
	t.Helper()
	s, err := open(dir, &Options{FreeSpaceFloor: -1, Ballast: -1, Logger: quiet}, fs)
	check.NoError(t, err, "opening %s", dir)
	t.Cleanup(func() { check.NoError(t, s.Close(), "closing %s", dir) })
	return s
}

var quiet = slog.New(slog.DiscardHandler)

// smallStore has a disk that is nearly down to the floor.
func smallStore(t testing.TB, records int) driver.Store {
	t.Helper()
	const floor = 1 << 20
	small := &shrinking{FS: vfs.NewMem()}
	small.left.Store(floor + int64(records))
	s, err := open("data", &Options{FreeSpaceFloor: floor, Ballast: -1, Logger: quiet}, small)
	check.NoError(t, err, "opening a small store")
	t.Cleanup(func() { check.NoError(t, s.Close(), "closing a small store") })
	return s
}

// shrinking is a disk of which each look at the free space finds a byte less. An Acquire of a new key looks once; pebble
// looks too, but at its own directory.
type shrinking struct {
	vfs.FS

	left atomic.Int64
}

func (d *shrinking) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if path != "data" {
		return vfs.DiskUsage{}, vfs.ErrUnsupported
	}
	return vfs.DiskUsage{AvailBytes: uint64(d.left.Add(-1) + 1)}, nil
}
