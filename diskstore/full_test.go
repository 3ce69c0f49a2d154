package diskstore

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// limited is a disk with so many bytes left, which deleted files give back.
type limited struct {
	vfs.FS

	mu   sync.Mutex
	left int64
	sick error // what every sync returns
}

func (d *limited) set(left int64, sick error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.sick = left, sick
}

// take returns how many of n bytes there was room for.
func (d *limited) take(n int) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if int64(n) <= d.left {
		d.left -= int64(n)
		return n, nil
	}
	n = int(d.left)
	d.left = 0
	return n, &os.PathError{Op: "write", Path: "a full disk", Err: syscall.ENOSPC}
}

func (d *limited) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return vfs.DiskUsage{AvailBytes: uint64(d.left)}, nil
}

func (d *limited) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	return &limitedFile{File: f, disk: d}, err
}

func (d *limited) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return &limitedFile{File: f, disk: d}, err
}

func (d *limited) Remove(name string) error {
	info, err := d.Stat(name)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.left += info.Size()
	d.mu.Unlock()
	return d.FS.Remove(name)
}

type limitedFile struct {
	vfs.File

	disk *limited
	at   int64 // where it is written next
}

// Write takes no room for what it overwrites: pebble uses its logs again.
func (f *limitedFile) Write(p []byte) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	over := int(min(max(0, info.Size()-f.at), int64(len(p))))
	n, full := f.disk.take(len(p) - over)
	n, err = f.File.Write(p[:over+n])
	f.at += int64(n)
	return n, errors.Join(err, full)
}

func (f *limitedFile) Sync() error {
	f.disk.mu.Lock()
	sick := f.disk.sick
	f.disk.mu.Unlock()
	return errors.Join(sick, f.File.Sync())
}

func (f *limitedFile) SyncData() error { return f.Sync() }

func openLimited(t *testing.T, o Options, fs vfs.FS) (*Store, func()) {
	t.Helper()
	o.Logger = quiet
	s, err := open("data", &o, fs)
	check.NoError(t, err, "opening")
	return s, func() { check.NoError(t, s.Close(), "closing") }
}

// eventually waits for what another goroutine brings about.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !happened(); time.Sleep(time.Millisecond) {
		check.True(t, time.Now().Before(deadline), "never: %s", what)
	}
}

func TestFullDiskDropsTheBallast(t *testing.T) {
	disk := &limited{FS: vfs.NewMem(), left: 8 << 20}
	s, closed := openLimited(t, Options{FreeSpaceFloor: -1, Ballast: 4 << 20}, disk)
	defer closed()
	big := driver.Outcome{Kind: driver.Answer, Bytes: make([]byte, 20<<10)}
	var held []driver.ID
	for n := 0; ; n++ { // half of them are completed, which fills the disk
		id := keyOf(0, 0, n)
		_, err := s.Acquire(bg, id, claimOf(id))
		if errors.Is(err, driver.ErrFull) {
			break
		}
		check.NoError(t, err, "Acquire %d", n)
		if n%2 == 0 {
			check.NoError(t, s.Complete(bg, id, ownerOf(id), big), "Complete %d", n)
		} else {
			held = append(held, id)
		}
	}
	check.True(t, !s.disk.ballasted.Load(), "new keys are refused although the ballast is there")
	for _, id := range held {
		check.NoError(t, complete(s, id), "Complete of a key that is held")
	}
	check.True(t, len(held) > 50, "%d keys were held", len(held))

	disk.set(64<<20, nil)
	_, err := s.Sweep(bg, 1)
	check.NoError(t, err, "Sweep")
	check.True(t, s.disk.ballasted.Load(), "the ballast is not back")
	acquire(t, s, keyOf(1, 0, 0))
}

func TestFullDiskIsWaitedOut(t *testing.T) {
	disk := &limited{FS: vfs.NewMem(), left: 8 << 20}
	s, closed := openLimited(t, Options{FreeSpaceFloor: 1 << 20, Ballast: -1}, disk)
	defer closed()
	first, second := keyOf(0, 0, 1), keyOf(0, 0, 2)
	acquire(t, s, first)
	acquire(t, s, second)
	disk.set(0, nil)
	_, err := s.Acquire(bg, keyOf(0, 0, 3), claimOf(keyOf(0, 0, 3)))
	check.ErrorIs(t, err, driver.ErrFull, "Acquire of a new key")

	ctx, cancel := context.WithCancel(bg)
	returned := make(chan error)
	go func() {
		returned <- s.Complete(ctx, first, ownerOf(first), driver.Outcome{Kind: driver.Answer, Bytes: outcomeOf(first)})
	}()
	eventually(t, "a write waits for room", func() bool { return s.disk.full.Load() > 0 })
	cancel()
	err = <-returned
	check.ErrorIs(t, err, context.Canceled, "Complete when its context ended")
	check.True(t, !errors.Is(err, driver.ErrUnavailable), "it may still happen, and passes for refused: %v", err)
	check.ErrorIs(t, complete(s, second), driver.ErrUnavailable, "Complete while another waits for room")
	rec, err := s.Get(bg, second)
	check.NoError(t, err, "Get on a full disk")
	check.Equal(t, rec.Phase, driver.PhaseRunning, "what was refused")

	disk.set(8<<20, nil)
	eventually(t, "the write that waited has landed", func() bool {
		rec, err := s.Get(bg, first)
		return err == nil && rec.Phase == driver.PhaseDone
	})
	check.NoError(t, complete(s, second), "Complete when there is room again")
	acquire(t, s, keyOf(0, 0, 3))
}

// crowded is a file system for a process that may have too many files open.
type crowded struct {
	vfs.FS

	none atomic.Bool
}

func (c *crowded) Create(name string, o vfs.DiskWriteCategory) (vfs.File, error) {
	if c.none.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	return c.FS.Create(name, o)
}

func (c *crowded) OpenReadWrite(name string, o vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	if c.none.Load() {
		return nil, &os.PathError{Op: "open", Path: name, Err: syscall.EMFILE}
	}
	return c.FS.OpenReadWrite(name, o, opts...)
}

// ReuseForWrite is as that of a real file system: the file is renamed before it is opened.
func (c *crowded) ReuseForWrite(old, name string, o vfs.DiskWriteCategory) (vfs.File, error) {
	if err := c.Rename(old, name); err != nil {
		return nil, err
	}
	return c.OpenReadWrite(name, o)
}

// Pebble uses its logs again, under another name. One that was renamed and could not be opened is not there any more.
func TestALogIsUsedAgainWhenThereIsAFileForIt(t *testing.T) {
	files := &crowded{FS: vfs.NewMem()}
	d := newDisk(files, "data", 0, 0, quiet, func(err error) { t.Errorf("the store gave up: %v", err) })
	d.patient.Store(true)
	check.NoError(t, files.MkdirAll("data", 0o700), "making the directory")
	old, err := files.Create("data/1.log", "")
	check.NoError(t, err, "making a log")
	check.NoError(t, old.Close(), "closing it")
	files.none.Store(true)
	used := make(chan error, 1)
	go func() {
		_, err := d.ReuseForWrite("data/1.log", "data/2.log", "")
		used <- err
	}()
	eventually(t, "it waits for a file", func() bool { return d.full.Load() > 0 })
	files.none.Store(false)
	check.NoError(t, <-used, "using it again")
}

func TestTooManyOpenFilesAreWaitedOut(t *testing.T) {
	files := &crowded{FS: vfs.NewMem()}
	s, closed := openLimited(t, Options{FreeSpaceFloor: 1 << 20, Ballast: -1}, files)
	defer closed()
	s.disk.floor = 0 // the sizes stay small, so that files are made all the time
	files.none.Store(true)
	ctx, stop := context.WithCancel(bg)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ctx.Err() == nil; n++ {
			_, _ = s.Acquire(ctx, keyOf(0, 0, n), claimOf(keyOf(0, 0, n)))
		}
	}()
	eventually(t, "a write waits for a file", func() bool { return s.disk.full.Load() > 0 })
	stop()
	<-stopped
	id := keyOf(1, 0, 0)
	_, err := s.Acquire(bg, id, claimOf(id))
	check.ErrorIs(t, err, driver.ErrUnavailable, "Acquire meanwhile")
	check.NoError(t, s.failure(), "the store")

	files.none.Store(false)
	eventually(t, "it goes on by itself", func() bool {
		_, err := s.Acquire(bg, id, claimOf(id))
		return err == nil
	})
	check.NoError(t, complete(s, id), "Complete")
}

func TestCloseOnAFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	disk := &limited{FS: mem, left: 8 << 20}
	s, _ := openLimited(t, Options{FreeSpaceFloor: -1, Ballast: -1}, disk)
	id := keyOf(0, 0, 1)
	acquire(t, s, id)
	disk.set(0, nil)
	returned := make(chan error)
	go func() { returned <- complete(s, id) }()
	eventually(t, "a write waits for room", func() bool { return s.disk.full.Load() > 0 })
	check.True(t, s.Close() != nil, "Close says nothing of what it could not write")
	check.True(t, <-returned != nil, "Complete succeeded on a full disk")

	_, err := open("data", &Options{FreeSpaceFloor: -1, Ballast: -1, Logger: quiet}, disk)
	check.ErrorIs(t, err, syscall.ENOSPC, "opening on a full disk")
	s = openAt(t, "data", mem)
	checkKept(t, s, []ack{{ackHeld, id}})
}

// After a failed sync nobody knows what is on the disk: the store answers nothing until it has been opened again.
func TestFailedSyncMakesTheStoreUnavailable(t *testing.T) {
	mem := vfs.NewMem()
	disk := &limited{FS: mem, left: 1 << 30}
	s, _ := openLimited(t, Options{FreeSpaceFloor: -1, Ballast: -1}, disk)
	held, done := keyOf(0, 0, 1), keyOf(0, 0, 2)
	acquire(t, s, held)
	acquire(t, s, done)
	check.NoError(t, complete(s, done), "Complete")
	disk.set(1<<30, syscall.EIO)
	err := complete(s, held)
	check.True(t, err != nil && !errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, driver.ErrLost),
		"Complete whose sync fails: %v", err)
	disk.set(1<<30, nil)
	for range 2 {
		_, err = s.Get(bg, done)
		check.ErrorIs(t, err, driver.ErrUnavailable, "Get of a store that has failed")
		check.ErrorIs(t, complete(s, held), driver.ErrUnavailable, "Complete of a store that has failed")
		_, err = s.Sweep(bg, 1)
		check.ErrorIs(t, err, driver.ErrUnavailable, "Sweep of a store that has failed")
		_, _, err = s.List(bg, driver.Query{})
		check.ErrorIs(t, err, driver.ErrUnavailable, "List of a store that has failed")
		check.True(t, s.Close() != nil, "Close says nothing of the failure")
	}
	s = openAt(t, "data", mem)
	checkKept(t, s, []ack{{ackHeld, held}, {ackDone, done}})
	check.NoError(t, complete(s, held), "Complete after opening again")
}
