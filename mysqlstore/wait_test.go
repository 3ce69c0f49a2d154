package mysqlstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// Whatever ends the wait of a duplicate wakes it.
func TestWaitEnds(t *testing.T) {
	url := testsvc.SharedMariaDB(t).URL
	here := openAt(t, url, nil)
	there := openAt(t, url, &Options{Prefix: here.prefix})
	for name, end := range map[string]func(id driver.ID, o driver.Owner) error{
		"Complete": func(id driver.ID, o driver.Owner) error { return there.Complete(bg, id, o, sampled) },
		"Release":  func(id driver.ID, o driver.Owner) error { return there.Release(bg, id, o, driver.Note{}) },
		"giving up": func(id driver.ID, o driver.Owner) error {
			return there.Extend(bg, id, o, driver.Extension{})
		},
		"the end of the lease": func(id driver.ID, o driver.Owner) error {
			return there.Extend(bg, id, o, driver.Extension{Lease: time.Millisecond})
		},
		"the next attempt": func(id driver.ID, o driver.Owner) error {
			if err := there.Extend(bg, id, o, driver.Extension{}); err != nil {
				return err
			}
			_, err := there.Acquire(bg, id, claim())
			return err
		},
	} {
		id, c := newID(), claim()
		c.OnCrash, c.MaxAttempts = driver.Rerun, 5
		_, err := there.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
		ctx, cancel := context.WithTimeout(bg, 10*time.Second)
		woken := make(chan error, 1)
		go func() { woken <- here.Wait(ctx, id) }()
		here.waiting.await(t, id)
		check.NoError(t, end(id, c.Owner), "%s", name)
		check.NoError(t, <-woken, "Wait that %s ends", name)
		cancel()
	}
}

// await returns when somebody waits for the key and has seen it held.
func (w *waiting) await(t *testing.T, id driver.ID) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // what another goroutine does and does not announce
		w.mu.Lock()
		seen := uint64(0)
		for _, fence := range w.keys[id] {
			seen = fence
		}
		w.mu.Unlock()
		if seen > 0 {
			return
		}
		check.True(t, time.Now().Before(end), "nobody has asked")
	}
}

// Many who wait are one query at a time, and nobody asks when nobody waits.
func TestWaitersShareOneQuery(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	ids := make([]driver.ID, 100)
	for i := range ids {
		ids[i] = newID()
		_, err := s.Acquire(bg, ids[i], claim())
		check.NoError(t, err, "Acquire")
	}
	ctx, cancel := context.WithCancel(bg)
	var all sync.WaitGroup
	for i := range 500 {
		all.Go(func() {
			if err := s.Wait(ctx, ids[i%len(ids)]); !errors.Is(err, context.Canceled) {
				t.Errorf("Wait for a key that is held: %v", err)
			}
		})
	}
	for _, id := range ids {
		s.waiting.await(t, id)
	}
	var asked atomic.Int64
	s.waiting.mu.Lock()
	held := s.waiting.held
	s.waiting.held = func(ctx context.Context, ids []any) (map[driver.ID]uint64, error) {
		asked.Add(1)
		return held(ctx, ids)
	}
	s.waiting.mu.Unlock()
	time.Sleep(500 * time.Millisecond) // what happens while time passes is what this is about
	check.True(t, asked.Load() > 0 && asked.Load() < 20, "%d questions in half a second", asked.Load())
	cancel()
	all.Wait()
	s.waiting.running.Wait()
	check.Equal(t, len(s.waiting.keys), 0, "keys that are waited for")
}

func TestWaitOnAClosedStore(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	id := newID()
	_, err := s.Acquire(bg, id, claim())
	check.NoError(t, err, "Acquire")
	woken := make(chan error, 1)
	go func() { woken <- s.Wait(bg, id) }()
	s.waiting.await(t, id)
	s.Close()
	for _, err := range []error{<-woken, s.Wait(bg, id)} {
		check.True(t, err != nil && strings.Contains(err.Error(), "closed"), "Wait on a closed store: %v", err)
	}
}
