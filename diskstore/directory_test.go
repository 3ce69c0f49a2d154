package diskstore

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

func TestOpenAgainKeepsEverything(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	s := openAt(t, dir, vfs.Default)
	running, done, tombstone, released := keyOf(0, 0, 1), keyOf(0, 0, 2), keyOf(0, 0, 3), keyOf(0, 0, 4)
	for _, id := range []driver.ID{running, done, tombstone, released} {
		acquire(t, s, id)
	}
	note := driver.Note{Actor: "ops", Reason: "seen at the bank"}
	check.NoError(t, complete(s, done), "Complete")
	check.NoError(t, s.Extend(bg, tombstone, ownerOf(tombstone), driver.Extension{}), "giving up")
	check.NoError(t, s.Resolve(bg, tombstone, driver.Resolution{
		Fence: 1, Outcome: &driver.Outcome{Kind: driver.Tombstone, Bytes: []byte("201")}, Note: note,
	}), "Resolve")
	check.NoError(t, s.Release(bg, released, ownerOf(released), driver.Note{}), "Release")
	before := records(t, s, running, done, tombstone, released)
	check.NoError(t, s.Close(), "closing")
	_, err := s.Get(bg, done)
	check.ErrorIs(t, err, driver.ErrUnavailable, "Get of a closed store")

	s = openAt(t, dir, vfs.Default)
	check.Equal(t, records(t, s, running, done, tombstone, released), before, "the records")
	g, err := s.Acquire(bg, released, claimOf(released))
	check.NoError(t, err, "Acquire")
	check.Equal(t, g.Verdict, driver.Lost, "the verdict for the owner who had released")
	check.NoError(t, complete(s, running), "Complete of a key that was acquired before")
}

// records are those of the ids, with their times set aside when they are plausible.
func records(t *testing.T, s *Store, ids ...driver.ID) (all []driver.Record) {
	t.Helper()
	for _, id := range ids {
		rec, err := s.Get(bg, id)
		check.NoError(t, err, "Get")
		if rec.Phase != driver.PhaseAbsent {
			check.True(t, rec.Left > 59*time.Minute && rec.Left <= time.Hour && rec.Age < time.Minute,
				"%v are left, age %v", rec.Left, rec.Age)
		}
		rec.Left, rec.Age, rec.Lease = 0, 0, 0
		all = append(all, rec)
	}
	return all
}

func TestOpenRefusesWhatIsNotAStore(t *testing.T) {
	for _, c := range []struct{ name, file, content, want string }{
		{"somebody else's", "precious.txt", "data", "is no store"},
		{"of a later version", marker, markerBegin + "2\n", "does not know"},
		{"damaged", marker, "onceward disksttre, format 1\n", "damaged"},
		{"without its database", marker, markerContent, "cannot be opened"},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, c.file)
		check.NoError(t, os.WriteFile(file, []byte(c.content), 0o600), "writing %s", file)
		for range 2 {
			_, err := Open(dir, &Options{Logger: quiet})
			check.True(t, err != nil && strings.Contains(err.Error(), c.want) && strings.Contains(err.Error(), dir),
				"a directory that is %s: %v", c.name, err)
		}
		content, err := os.ReadFile(file)
		check.NoError(t, err, "reading %s", file)
		check.Equal(t, string(content), c.content, "the file in a directory that is %s", c.name)
		names, err := os.ReadDir(dir)
		check.NoError(t, err, "listing")
		check.True(t, len(names) == 1 || c.want == "cannot be opened", "files were left in a directory that is %s", c.name)
	}
}

// The socket of a process that was killed is in nobody's way, in a directory that is empty and in one of a store.
// Of many that create one directory at the same time, one wins, and the others are told that it is in use.
func TestManyCreateOneDirectory(t *testing.T) {
	for range 20 {
		dir := filepath.Join(t.TempDir(), "data")
		var all sync.WaitGroup
		var opened atomic.Int64
		for range 8 {
			all.Go(func() {
				s, err := Open(dir, &Options{FreeSpaceFloor: -1, Ballast: -1, Logger: quiet})
				if err != nil {
					check.True(t, strings.Contains(err.Error(), "is in use"), "a loser is told: %v", err)
					return
				}
				opened.Add(1)
				t.Cleanup(func() { check.NoError(t, s.Close(), "closing") })
			})
		}
		all.Wait()
		check.Equal(t, opened.Load(), int64(1), "stores that opened")
	}
}

// closedFS belongs to somebody else.
type closedFS struct {
	vfs.FS

	op string // which is refused
}

func (f closedFS) MkdirAll(dir string, perm os.FileMode) error {
	if f.op == "mkdir" {
		return &os.PathError{Op: f.op, Path: dir, Err: syscall.EACCES}
	}
	return f.FS.MkdirAll(dir, perm)
}

func (f closedFS) Lock(name string) (io.Closer, error) {
	if f.op == "lock" {
		return nil, &os.PathError{Op: f.op, Path: name, Err: syscall.EACCES}
	}
	return f.FS.Lock(name)
}

func TestOpenWithoutTheRightTo(t *testing.T) {
	for op, says := range map[string]string{"mkdir": "creating", "lock": "belongs to another user"} {
		opened := make(chan error, 1)
		go func() {
			_, err := open("data", &Options{FreeSpaceFloor: -1, Ballast: -1}, closedFS{vfs.NewMem(), op})
			opened <- err
		}()
		select {
		case err := <-opened:
			check.ErrorIs(t, err, os.ErrPermission, "%s: Open", op)
			check.True(t, strings.Contains(err.Error(), says), "%s: no %q in %v", op, says, err)
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: Open does not return", op)
		}
	}
}

func TestOpenBesideAStaleSocket(t *testing.T) {
	dir := t.TempDir()
	socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "control.sock")})
	check.NoError(t, err, "listening")
	socket.SetUnlinkOnClose(false)
	check.NoError(t, socket.Close(), "closing a socket")
	for n := range 2 {
		s := openAt(t, dir, vfs.Default)
		acquire(t, s, keyOf(0, 0, n))
		_, _, err := s.Usage()
		check.NoError(t, err, "Usage")
		check.NoError(t, s.Close(), "closing")
	}
	_, err = os.Stat(filepath.Join(dir, "control.sock"))
	check.NoError(t, err, "looking for the socket")
}

// A store of which the database is gone must not begin anew: every key would look new.
func TestOpenRefusesAStoreWithoutItsFiles(t *testing.T) {
	closed, _ := damageable(t)
	names, err := closed.List("data/records")
	check.NoError(t, err, "listing")
	missed := 0
	for _, name := range names {
		fs := copyOf(t, closed)
		check.NoError(t, fs.Remove("data/records/"+name), "removing %s", name)
		switch examine(t, fs) {
		case refused, partly:
			missed++
		case silent:
			t.Errorf("records were lost silently with %s", name)
		}
	}
	check.True(t, missed >= 2, "of %q %d were missed", names, missed)
}

func TestCheckpoint(t *testing.T) {
	s := openAt(t, t.TempDir(), vfs.Default)
	before, after := keyOf(0, 0, 1), keyOf(0, 0, 2)
	acquire(t, s, before)
	check.NoError(t, complete(s, before), "Complete")
	target := filepath.Join(t.TempDir(), "copies", "one")
	check.NoError(t, s.Checkpoint(target), "Checkpoint")
	acquire(t, s, after)
	check.True(t, s.Checkpoint(target) != nil, "a checkpoint replaces another")

	restored := openAt(t, target, vfs.Default)
	checkKept(t, restored, []ack{{ackDone, before}})
	rec, err := restored.Get(bg, after)
	check.NoError(t, err, "Get")
	check.Equal(t, rec.Phase, driver.PhaseAbsent, "a key that was acquired after the checkpoint")
	acquire(t, restored, keyOf(0, 0, 3))
	rec, err = s.Get(bg, keyOf(0, 0, 3))
	check.NoError(t, err, "Get")
	check.Equal(t, rec.Phase, driver.PhaseAbsent, "a key that was acquired in the copy")
}

// A backup disk that is full fails the backup and not the store.
func TestCheckpointOnAFullDisk(t *testing.T) {
	disk := &limited{FS: vfs.NewMem(), left: 8 << 20}
	s, closed := openLimited(t, Options{FreeSpaceFloor: -1, Ballast: -1}, &elsewhere{disk, "backup"})
	defer closed()
	acquire(t, s, keyOf(0, 0, 1))
	check.True(t, s.Checkpoint("backup") != nil, "a checkpoint on a full disk")
	check.NoError(t, complete(s, keyOf(0, 0, 1)), "Complete after a checkpoint that failed")
}

// elsewhere is a file system on which a directory lies on another disk, which is full.
type elsewhere struct {
	vfs.FS

	dir string
}

func (e *elsewhere) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasPrefix(name, e.dir) {
		return nil, errors.New("no room for backups")
	}
	return e.FS.Create(name, c)
}
