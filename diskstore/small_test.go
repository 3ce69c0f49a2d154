package diskstore

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

const smallDisk = 4 << 20

// A store with a floor of 1 MiB lives on a disk of 4 MiB: one in memory, and a real one where a process may mount it.
func TestSmallDisk(t *testing.T) {
	useSmallDisk(t, &limited{FS: vfs.NewMem(), left: smallDisk}, "")
	again := exec.Command(os.Args[0], "-test.run=^TestMountedDisk$")
	again.Env = append(os.Environ(), asTenant+"="+t.TempDir())
	if err := startAlone(again); err != nil {
		t.Logf("in memory only, since this process may not mount a disk: %v", err)
		return
	}
	check.NoError(t, again.Wait(), "on a disk that is mounted")
}

// TestMountedDisk is the part of TestSmallDisk in a process of its own.
func TestMountedDisk(t *testing.T) {
	if dir := os.Getenv(asTenant); dir != "" {
		check.NoError(t, mountSmallDisk(dir), "mounting a disk")
		useSmallDisk(t, vfs.Default, dir+"/")
	}
}

// useSmallDisk fills a disk in which others have their files too, and makes room again in all ways that there are.
func useSmallDisk(t *testing.T, fs vfs.FS, prefix string) {
	others := &neighbours{fs: fs, file: prefix + "others"}
	others.write(t, 1<<20)
	o := &Options{FreeSpaceFloor: 1 << 20, Ballast: 256 << 10, Logger: quiet}
	s, err := open(prefix+"data", o, fs)
	check.NoError(t, err, "opening")

	done, held := fillUp(t, s, 0)
	for _, id := range held {
		check.NoError(t, completeLong(s, id), "Complete below the floor")
	}
	checkReplays(t, s, append(done, held...))

	others.leave(t)
	_, held = fillUp(t, s, 1)
	others.write(t, smallDisk)
	for _, id := range held[:20] {
		eventually(t, "Complete on a full disk", func() bool { return completeLong(s, id) == nil })
	}
	checkReplays(t, s, done)

	others.leave(t)
	eventually(t, "completes go on", func() bool { return completeLong(s, held[20]) == nil })
	skip(s, 3*time.Hour)
	for removed := 1; removed > 0; {
		removed, err = s.Sweep(bg, 1000)
		check.NoError(t, err, "Sweep")
	}
	eventually(t, "what was swept is room again", func() bool {
		_, free, err := s.Usage()
		return err == nil && free > smallDisk*5/8
	})
	done, _ = fillUp(t, s, 2)
	check.NoError(t, s.Close(), "closing")

	s, err = open(prefix+"data", o, fs)
	check.NoError(t, err, "opening a full store")
	checkReplays(t, s, done)
	check.NoError(t, s.consistent(), "after all")
	check.NoError(t, s.Close(), "closing")
}

// fillUp acquires new keys until they are refused, and completes seven of eight.
func fillUp(t testing.TB, s *Store, round int) (done, held []driver.ID) {
	t.Helper()
	for {
		id := keyOf(round, 0, len(done)+len(held))
		if _, err := s.Acquire(bg, id, claimOf(id)); err != nil {
			check.ErrorIs(t, err, driver.ErrFull, "Acquire")
			break
		}
		if len(done) < 7*(len(held)+1) {
			check.NoError(t, completeLong(s, id), "Complete")
			done = append(done, id)
		} else {
			held = append(held, id)
		}
	}
	check.True(t, len(held) > 20, "only %d keys were taken in round %d", len(done)+len(held), round)
	return done, held
}

// longOutcomeOf is half a KiB that nothing can compress.
func longOutcomeOf(id driver.ID) []byte {
	noise := make([]byte, 512)
	_, _ = rand.NewChaCha8(id).Read(noise) // it never fails
	return noise
}

func completeLong(s *Store, id driver.ID) error {
	return s.Complete(bg, id, ownerOf(id), driver.Outcome{Kind: driver.Answer, Bytes: longOutcomeOf(id)})
}

func checkReplays(t testing.TB, s *Store, done []driver.ID) {
	t.Helper()
	for _, id := range done {
		g, err := s.Acquire(bg, id, claimOf(id))
		check.NoError(t, err, "Acquire of a key that is done")
		check.Equal(t, g.Verdict, driver.Done, "the verdict")
		check.Equal(t, string(g.Record.Outcome.Bytes), string(longOutcomeOf(id)), "the outcome")
	}
}

// neighbours have a file on the disk of a store.
type neighbours struct {
	fs   vfs.FS
	file string
}

// write takes so much room, or all that is left.
func (n *neighbours) write(t testing.TB, bytes int64) {
	t.Helper()
	f, err := n.fs.Create(n.file, vfs.WriteCategoryUnspecified)
	check.NoError(t, err, "creating a file of others")
	noise := rand.NewChaCha8([32]byte{})
	_, err = io.CopyN(f, noise, bytes)
	check.True(t, err == nil || isFull(err), "writing a file of others: %v", err)
	check.NoError(t, f.Close(), "closing a file of others")
}

func (n *neighbours) leave(t testing.TB) {
	t.Helper()
	check.NoError(t, n.fs.Remove(n.file), "removing a file of others")
}

// A disk on which no new key could ever be taken is refused at once, and nothing is left there.
func TestDiskThatIsTooSmallForTheOptions(t *testing.T) {
	mem := vfs.NewMem()
	_, err := open("some/data", &Options{Logger: quiet}, &sized{mem, smallDisk})
	check.True(t, err != nil, "it was opened")
	check.Equal(t, err.Error(), "diskstore: the disk of some/data has 4096 KiB, and new keys would need 256 MiB free "+
		"beside a ballast of 32 MiB: choose a larger disk, or lower Options.FreeSpaceFloor and Options.Ballast", "the error")
	_, err = mem.Stat("some")
	check.ErrorIs(t, err, os.ErrNotExist, "looking for the directory that was refused")

	o := &Options{FreeSpaceFloor: 3 << 20, Ballast: 1 << 20, Logger: quiet}
	for _, total := range []uint64{smallDisk, 0, 1 << 20} { // 0 is one that does not say; the last has shrunk
		s, err := open("some/data", o, &sized{mem, total})
		check.NoError(t, err, "opening on a disk of %d bytes", total)
		check.NoError(t, s.Close(), "closing")
	}
}

// sized is a disk of a size, all of which is free.
type sized struct {
	vfs.FS

	total uint64
}

func (d *sized) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	if _, err := d.Stat(path); errors.Is(err, os.ErrNotExist) && path != "." {
		return vfs.DiskUsage{}, err
	}
	return vfs.DiskUsage{AvailBytes: d.total, TotalBytes: d.total}, nil
}

func TestUsage(t *testing.T) {
	disk := &limited{FS: vfs.NewMem(), left: 64 << 20}
	s, closed := openLimited(t, Options{FreeSpaceFloor: -1, Ballast: 1 << 20}, disk)
	defer closed()
	for n := range 100 {
		acquire(t, s, keyOf(0, 0, n))
	}
	used, free, err := s.Usage()
	check.NoError(t, err, "Usage")
	check.True(t, used > 1<<20 && used < 2<<20, "%d bytes are used", used)
	check.Equal(t, used+free, 64<<20, "bytes that are used or free")
}
