package diskstore

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/internal/check"
)

// The power is cut at random moments of a load. What was not synced survives in part or not at all, and nothing that
// anybody was told may be gone.
func TestNothingAcknowledgedIsLostByPowerCut(t *testing.T) {
	const cuts = 20
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	fs := vfs.NewCrashableMem()
	total := 0
	for round := range cuts {
		s := openAt(t, "data", fs)
		var mu sync.Mutex
		var told []ack
		enough := make(chan struct{})
		after := 1 + rng.IntN(1000)
		ctx, stop := context.WithCancel(bg)
		l := &load{store: s, get: s.Get, round: round, tell: func(a ack) {
			mu.Lock()
			defer mu.Unlock()
			if told = append(told, a); len(told) == after {
				close(enough)
			}
		}}
		var working sync.WaitGroup
		working.Go(func() { l.run(ctx) })
		<-enough
		mu.Lock()
		known := slices.Clone(told)
		mu.Unlock()
		fs = fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(4) * 33, RNG: rng})
		stop()
		working.Wait()

		survivor := openAt(t, "data", fs)
		checkKept(t, survivor, known)
		check.NoError(t, survivor.consistent(), "after cut %d of seed %d", round, seed)
		check.NoError(t, survivor.Close(), "closing the survivor")
		total += len(known)
	}
	t.Logf("seed %d, %d cuts, %d acks", seed, cuts, total)
	check.True(t, total > 100*cuts, "too little was written")
}

// The power is cut before each write that creates a store.
func TestPowerCutDuringCreation(t *testing.T) {
	fs := vfs.NewCrashableMem()
	rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
	var mu sync.Mutex
	var cut []*vfs.MemFS
	s := openAt(t, "data", &watched{FS: fs, before: func() {
		mu.Lock()
		defer mu.Unlock()
		cut = append(cut, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng}))
	}})
	check.NoError(t, s.Close(), "closing")
	for i, half := range cut {
		s := openAt(t, "data", half)
		acquire(t, s, keyOf(0, 0, 0))
		check.NoError(t, s.Close(), "closing what was created by half, at cut %d", i)
	}
	t.Logf("%d cuts", len(cut))
	check.True(t, len(cut) > 30, "cut %d times only", len(cut))
}

// watched calls before in front of everything that changes the file system.
type watched struct {
	vfs.FS

	before func()
}

func (w *watched) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	w.before()
	f, err := w.FS.Create(name, c)
	return &watchedFile{f, w.before}, err
}

func (w *watched) MkdirAll(dir string, perm os.FileMode) error {
	w.before()
	return w.FS.MkdirAll(dir, perm)
}

func (w *watched) Rename(old, name string) error {
	w.before()
	return w.FS.Rename(old, name)
}

func (w *watched) Remove(name string) error {
	w.before()
	return w.FS.Remove(name)
}

func (w *watched) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	return &watchedFile{f, w.before}, err
}

type watchedFile struct {
	vfs.File

	before func()
}

func (w *watchedFile) Write(p []byte) (int, error) {
	w.before()
	return w.File.Write(p)
}

func (w *watchedFile) Sync() error {
	w.before()
	return w.File.Sync()
}
