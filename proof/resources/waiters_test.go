//go:build torture

package resources

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/diskstore"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/proof/report"
)

const duplicates = 10_000

// perWaiter is how many bytes a duplicate may take while it waits, beyond a goroutine that waits for nothing. It
// should be 1 KiB: a third of it is what Go keeps for a select over five channels, and a third is the attempt that it may
// become. On a disk there is the record beside.
const perWaiter = 2 << 10

func TestWaiters(t *testing.T) {
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			idle := memoryOf(t, func(entered func(), leave <-chan struct{}) { entered(); <-leave })
			w := &waiting{store: open(t), perKey: duplicates}
			bytes := w.measure(t) - idle
			report.Linef(t, "%d duplicates waited: %d calls, %d equal answers, %d refused; %d B each, beyond a goroutine's %d B",
				duplicates, w.calls.Load(), w.answered.Load(), w.refused.Load(), bytes, idle)
			check.Equal(t, [3]int64{w.calls.Load(), w.answered.Load(), w.refused.Load()}, [3]int64{1, duplicates, 0},
				"calls, equal answers, refused")
			check.True(t, bytes <= perWaiter, "%d bytes for each duplicate that waits, want at most %d", bytes, perWaiter)
		})
	}
}

// With the default bound for a key most are refused at once; and who waits with a buffer takes too much.
func TestWaitersThatAreTooManyOrTooFatAreSeen(t *testing.T) {
	w := &waiting{store: memstore.New(nil)}
	w.measure(t)
	check.Equal(t, [2]int64{w.answered.Load(), w.refused.Load()}, [2]int64{1000, duplicates - 1000}, "equal answers, refused")

	idle := memoryOf(t, func(entered func(), leave <-chan struct{}) { entered(); <-leave })
	fat := memoryOf(t, func(entered func(), leave <-chan struct{}) {
		buffer := make([]byte, 2*perWaiter, 2*perWaiter+len(t.Name())) // on the heap, since nobody knows its size beforehand
		entered()
		<-leave
		runtime.KeepAlive(buffer)
	})
	check.True(t, fat-idle > perWaiter, "a goroutine with %d bytes was taken for one with %d", 2*perWaiter, fat-idle)
}

// memoryOf is how many bytes of the heap each of many goroutines gives back when it ends. Neither its stack is part of it
// nor what Go keeps of a goroutine for the next one.
func memoryOf(t *testing.T, wait func(entered func(), leave <-chan struct{})) int64 {
	t.Helper()
	leave := make(chan struct{})
	var in, all sync.WaitGroup
	in.Add(duplicates)
	for range duplicates {
		all.Go(func() { wait(in.Done, leave) })
	}
	in.Wait()
	during := heap()
	close(leave)
	all.Wait()
	return (during - heap()) / duplicates
}

// heap is how much is in use when everything that nobody needs is gone.
func heap() int64 {
	runtime.GC()
	runtime.GC() // pools keep what they have for one more
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// waiting is a key that runs, and the duplicates that wait for it.
type waiting struct {
	store  driver.Store
	perKey int

	calls, answered, refused atomic.Int64
}

// measure returns how many bytes of the heap each duplicate takes while it waits, as memoryOf does.
func (w *waiting) measure(t *testing.T) (bytes int64) {
	t.Helper()
	var in sync.WaitGroup
	guard, err := onceward.New(w.store, &onceward.Options{
		Policy: onceward.Policy{Wait: 5 * time.Minute}, WaitersPerKey: w.perKey,
		Trace: func(_ context.Context, step onceward.Trace) {
			if step.Step == "waiting" || step.Step == "refused" {
				in.Done()
			}
		},
	})
	check.NoError(t, err, "making a guard")
	defer func() { check.NoError(t, guard.Close(t.Context()), "closing the guard") }()

	started, finish := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() { w.do(t, guard, started, finish) })
	<-started
	in.Add(duplicates)
	for range duplicates {
		all.Go(func() { w.do(t, guard, nil, nil) })
	}
	in.Wait()
	during := heap()
	close(finish)
	all.Wait()
	w.answered.Add(-1) // that of the first one
	return (during - heap()) / duplicates
}

// do asks for the key. The first call ends when it is told to.
func (w *waiting) do(t *testing.T, guard *onceward.Guard, started chan<- struct{}, finish <-chan struct{}) {
	key := onceward.Key{Scope: "resources", Operation: "wait", Value: "k"}
	got, err := onceward.Do(t.Context(), guard, key, 1, func(context.Context) (int64, error) {
		n := w.calls.Add(1)
		if started != nil {
			close(started)
			<-finish
		}
		return n, nil
	})
	switch {
	case err == nil && got == 1:
		w.answered.Add(1)
	case errors.Is(err, onceward.ErrInProgress):
		w.refused.Add(1)
	default:
		t.Errorf("an answer: %d, %v", got, err)
	}
}

// stores are those of one process.
var stores = map[string]func(*testing.T) driver.Store{
	"memstore": func(*testing.T) driver.Store { return memstore.New(nil) },
	"diskstore": func(t *testing.T) driver.Store {
		return openDisk(t, filepath.Join(t.TempDir(), "data"), nil)
	},
}

func openDisk(t *testing.T, dir string, o *diskstore.Options) *diskstore.Store {
	t.Helper()
	s, err := diskstore.Open(dir, o)
	check.NoError(t, err, "opening a store")
	t.Cleanup(func() { _ = s.Close() })
	return s
}
