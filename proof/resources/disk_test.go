//go:build torture

package resources

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/proof/internal/overlay"
	"github.com/onceward/onceward/proof/report"
)

// onDisk runs a program where nobody else sees it, with a disk of its own mounted at dir.
func onDisk(dir, size string) []string {
	return []string{"unshare", "--mount", "sh", "-c", fmt.Sprintf(`mount -t tmpfs -o size=%s tmpfs %s && exec "$0" "$@"`, size, dir)}
}

// mayMount says why not, too.
func mayMount(t *testing.T) bool {
	t.Helper()
	words := append(onDisk(t.TempDir(), "1m"), "true")
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Logf("not run, because this process may not mount a disk, which root may: %v: %s", err, out)
	}
	return err == nil
}

// The ballast alone is larger than this disk.
func TestDiskThatIsTooSmall(t *testing.T) {
	if !mayMount(t) {
		return
	}
	disk := t.TempDir()
	s, err := tryToStart(t, binary, serviceOf(t, 10), onDisk(disk, "4m"), "--store", filepath.Join(disk, "data"), "--min-free", "1MiB")
	check.True(t, err != nil && strings.Contains(s.log.String(), "choose a larger disk"), "its end: %v; its log: %s", err, &s.log)
}

// Others share the disk. First it is filled to the floor by keys, then to the last byte by others, and then they leave.
func TestFullDisk(t *testing.T) {
	if !mayMount(t) {
		return
	}
	t.Parallel() // most of it is waiting
	d := newFullDisk(t, binary)
	d.others(t, 16<<20)
	held := d.begin(t, 16)
	d.fill(t)
	floor := d.crowd.counters()
	replays(t, d.crowd)

	d.others(t, 1<<30)
	refused := d.crowd.counters().Refused
	check.True(t, !d.crowd.ask(t.Context(), "nobody"), "a new key was taken on a full disk")
	check.Equal(t, d.crowd.counters().Refused, refused+1, "refused")
	close(d.release)
	held.Wait() // their answers are stored where the ballast was
	replays(t, d.crowd)

	check.NoError(t, os.Remove(d.neighbour), "others leave")
	got := d.crowd.settle(t, d.service)
	report.Linef(t, "a disk of 80 MiB was at its floor after %d answers of 16 KiB: %+v", floor.Answered, got)
	keptItsPromise(t, d.crowd, got)
	check.True(t, floor.Answered > 100 && got.Unstored == 0, "too little happened for this to mean anything: %+v", got)
	check.Equal(t, d.service.ran("nobody"), 1, "the key that was refused on a full disk")
}

// A store without a floor takes new keys where there is only room for what runs, and that has to be seen.
func TestFullDiskSeesAStoreWithoutAFloor(t *testing.T) {
	if !mayMount(t) {
		return
	}
	t.Parallel() // as above
	program := filepath.Join(t.TempDir(), "onceward")
	mistake := overlay.Replacing(t, filepath.Join("..", "..", "diskstore", "disk.go"), "if free < want {", "if free < 0 {")
	check.NoError(t, buildProxy(program, "-overlay", mistake), "building")
	d := newFullDisk(t, program)
	d.others(t, 1<<30)
	check.True(t, d.crowd.ask(t.Context(), "nobody"), "a new key was refused on a full disk without a floor: %+v", d.crowd.counters())
}

// fullDisk is a proxy on a disk that it shares.
type fullDisk struct {
	service   *service
	crowd     *crowd
	neighbour string        // a file of others
	release   chan struct{} // lets the operations end that are held
	entered   chan struct{}
}

func newFullDisk(t *testing.T, program string) *fullDisk {
	t.Helper()
	d := &fullDisk{service: serviceOf(t, 16<<10), release: make(chan struct{}), entered: make(chan struct{}, 100)}
	d.service.hold = func(key string) <-chan struct{} {
		if !strings.HasPrefix(key, "held-") {
			return nil
		}
		d.entered <- struct{}{}
		return d.release
	}
	disk := t.TempDir()
	s := sidecarOf(t, program, d.service, onDisk(disk, "80m"), "--store", filepath.Join(disk, "data"), "--min-free", "17MiB")
	d.crowd = crowdAt(t, s.base)
	d.neighbour = fmt.Sprintf("/proc/%d/root%s/others", s.Process.Pid, disk)
	return d
}

// others write so many bytes, or as many as there is room for.
func (d *fullDisk) others(t *testing.T, bytes int) {
	t.Helper()
	f, err := os.OpenFile(d.neighbour, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	check.NoError(t, err, "a file of others")
	defer f.Close()
	block := make([]byte, 4096)
	for ; bytes > 0 && err == nil; bytes -= len(block) {
		_, err = f.Write(block)
	}
	check.True(t, err == nil || errors.Is(err, syscall.ENOSPC), "others: %v", err)
}

// begin has operations begin that end when they are released.
func (d *fullDisk) begin(t *testing.T, n int) *sync.WaitGroup {
	t.Helper()
	var all sync.WaitGroup
	for _, key := range numbered("held", n) {
		all.Go(func() {
			if !d.crowd.ask(t.Context(), key) {
				t.Errorf("%s was not answered", key)
			}
		})
	}
	for range n {
		<-d.entered
	}
	return &all
}

// fill sends new keys until many are refused.
func (d *fullDisk) fill(t *testing.T) {
	t.Helper()
	for n := 0; d.crowd.counters().Refused < 50; n++ {
		each(8, numbered(fmt.Sprint("key-", n), 50), func(key string) { d.crowd.ask(t.Context(), key) })
	}
}

// replays asks for everything that was answered, none of which may be refused.
func replays(t *testing.T, c *crowd) {
	t.Helper()
	var known []string
	for _, key := range c.keys() {
		if c.knows(key) {
			known = append(known, key)
		}
	}
	before := c.counters().Replayed
	each(8, known, func(key string) { c.insist(t.Context(), key, time.Minute) })
	check.Equal(t, c.counters().Replayed-before, len(known), "replays")
}
