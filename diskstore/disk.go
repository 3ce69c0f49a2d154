package diskstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/failpoint"
)

// A disk is the file system as pebble sees it. Pebble does not live through a full disk or one that fails, so it meets
// neither. A write that finds no room deletes the ballast or else waits, as does one for which the process has no file
// descriptor left, and everybody who would write meanwhile is refused; any other error ends the store but not the process.
// Files outside the store's directory are not guarded.
type disk struct {
	vfs.FS

	path        string
	floor       int64
	ballast     int64
	log         *slog.Logger
	fail        func(error)
	full        atomic.Int32 // writes that wait for room
	mu          sync.Mutex   // of the ballast file
	ballasted   atomic.Bool
	pebbled     atomic.Bool   // before, every error can be told to whoever opens the store
	patient     atomic.Bool   // while opening, a full disk is a failure
	leaving     chan struct{} // closed when nobody is to wait any longer
	leavingOnce sync.Once
	gate        sync.RWMutex // held for reading by each write, and by park for ever
	parking     sync.Once
	unlock      func() error // gives the directory up; does nothing the second time
}

func newDisk(fs vfs.FS, path string, floor, ballast int64, log *slog.Logger, fail func(error)) *disk {
	return &disk{FS: fs, path: path, floor: floor, ballast: ballast, log: log, fail: fail, leaving: make(chan struct{})}
}

// roomForNew refuses a new key when less is free than the floor, and the ballast if that is gone.
func (d *disk) roomForNew() error {
	want := d.floor
	if !d.ballasted.Load() {
		want += d.ballast
	}
	if want == 0 {
		return nil
	}
	free, err := d.free()
	if errors.Is(err, vfs.ErrUnsupported) {
		return nil // then the full disk itself has to tell
	}
	if err != nil {
		return fmt.Errorf("%w: diskstore: asking for the free space: %w", driver.ErrUnavailable, err)
	}
	if free < want {
		return fmt.Errorf("%w: diskstore: %s are free on the disk of %s, new keys need %s: make room, or lower "+
			"the floor (Options.FreeSpaceFloor, --min-free)", driver.ErrFull, inUnits(free), d.path, inUnits(want))
	}
	return nil
}

func (d *disk) free() (int64, error) {
	usage, err := d.GetDiskUsage(d.path)
	return int64(min(usage.AvailBytes, 1<<62)), err
}

// fits refuses a disk that will never have room for a new key. One that does not tell its size passes.
func (d *disk) fits() error {
	at := d.path
	usage, err := d.GetDiskUsage(at)
	for errors.Is(err, os.ErrNotExist) && at != d.PathDir(at) { // it lies where it will be created
		at = d.PathDir(at)
		usage, err = d.GetDiskUsage(at)
	}
	if err != nil || usage.TotalBytes == 0 || int64(min(usage.TotalBytes, 1<<62)) >= d.floor+d.ballast {
		return nil //nolint:nilerr // whatever is wrong shows when the directory is created
	}
	return fmt.Errorf("diskstore: the disk of %s has %s, and new keys would need %s free beside a ballast of %s: "+
		"choose a larger disk, or lower Options.FreeSpaceFloor and Options.Ballast",
		d.path, inUnits(int64(usage.TotalBytes)), inUnits(d.floor), inUnits(d.ballast))
}

func inUnits(bytes int64) string {
	if bytes < 10<<20 {
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d MiB", bytes>>20)
}

// usable refuses to write while other writes wait for room.
func (d *disk) usable() error {
	if d.full.Load() > 0 {
		return fmt.Errorf("%w: diskstore: nothing can be written to %s now: make room if the disk is full, or allow the process "+
			"more open files", driver.ErrUnavailable, d.path)
	}
	return nil
}

// write makes op happen as soon as there is room for it. What op does partly it must go on with. It returns only errors
// that pebble expects.
func (d *disk) write(op func() error) error {
	d.gate.RLock()
	err := op()
	if passes(err) {
		d.full.Add(1)
		for passes(err) && d.awaitRoom(err) {
			err = op()
		}
		d.full.Add(-1)
	}
	d.gate.RUnlock()
	return d.survive(err)
}

// sync is not repeated: after a failed sync the next one may succeed although the data is gone.
func (d *disk) sync(op func() error) error {
	failpoint.At(failpoint.BeforeSync)
	d.gate.RLock()
	err := op()
	d.gate.RUnlock()
	return d.survive(err)
}

// survive never returns from an error that pebble does not expect. Pebble reports it by a panic with its mutex unlocked,
// which ends the process even if somebody recovers. So the goroutine that meets one stops here, and the store goes on
// without pebble to say that it has failed.
func (d *disk) survive(err error) error {
	expected := err == nil || errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrExist)
	if expected || !d.pebbled.Load() {
		return err
	}
	d.fail(err)
	select {}
}

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// passes reports whether the error is one of a disk that is full or of a process that has too many files open. Nothing is
// wrong with the store then, and nothing was done.
func passes(err error) bool {
	return isFull(err) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// awaitRoom returns when it is worth trying again, and false when nobody is to wait.
func (d *disk) awaitRoom(err error) bool {
	if isFull(err) && d.dropBallast() {
		d.log.Warn("diskstore: the disk is full, the ballast is deleted and new keys are refused", "dir", d.path)
		return true
	}
	if !d.patient.Load() {
		return false
	}
	select {
	case <-d.leaving:
		return false
	case <-time.After(20 * time.Millisecond):
		return true
	}
}

// awaitReserve keeps a compaction from taking the last room, which is for what callers wait for: it holds what it has
// written until there is more. It makes room in the end, and so may have half of the ballast's.
func (d *disk) awaitReserve() {
	for {
		free, err := d.free()
		if err != nil || free >= d.ballast/2 {
			return
		}
		select {
		case <-d.leaving:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (d *disk) giveUp() { d.leavingOnce.Do(func() { close(d.leaving) }) }

// park returns when no write is under way. All later ones wait for ever: a pebble that has failed might go on writing
// otherwise, beside a new one that has opened the same directory.
func (d *disk) park() {
	d.giveUp()
	d.parking.Do(d.gate.Lock)
}

func (d *disk) dropBallast() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ballasted.Swap(false) && d.ballast > 0 && d.FS.Remove(d.ballastPath()) == nil
}

// restoreBallast makes sure that there is a ballast, if that leaves room enough for new keys.
func (d *disk) restoreBallast() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ballast == 0 || d.ballasted.Load() {
		return nil
	}
	if info, err := d.Stat(d.ballastPath()); err == nil && info.Size() == d.ballast {
		d.ballasted.Store(true)
		return nil
	}
	free, err := d.free()
	if errors.Is(err, vfs.ErrUnsupported) {
		free, err = math.MaxInt64, nil
	}
	if err == nil && free < d.floor+d.ballast {
		err = fmt.Errorf("%s are free, %s are needed", inUnits(free), inUnits(d.floor+d.ballast))
	}
	if err == nil {
		err = d.writeBallast()
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(d.FS.Remove(d.ballastPath())))
	}
	d.ballasted.Store(true)
	return nil
}

// writeBallast writes bytes that no file system can compress.
func (d *disk) writeBallast() error {
	f, err := d.FS.Create(d.ballastPath(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	block := make([]byte, min(d.ballast, 1<<20))
	_, _ = rand.Read(block) // it never fails
	for left := d.ballast; left > 0 && err == nil; left -= int64(len(block)) {
		_, err = f.Write(block[:min(left, int64(len(block)))])
	}
	return errors.Join(err, f.Sync(), f.Close())
}

func (d *disk) ballastPath() string { return d.PathJoin(d.path, "ballast") }

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// Lock remembers what it returns, for unlock.
func (d *disk) Lock(name string) (io.Closer, error) {
	lock, err := d.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	d.unlock = sync.OnceValue(lock.Close)
	return closer(d.unlock), nil
}

type closer func() error

func (c closer) Close() error { return c() }
