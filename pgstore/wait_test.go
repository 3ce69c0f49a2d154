package pgstore

import (
	"context"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/internal/waiting"
)

// Whatever ends the wait of a duplicate wakes it.
func TestWaitEnds(t *testing.T) {
	url := testsvc.SharedPostgres(t).Database().URL
	here := openAt(t, url, nil)
	there := openAt(t, url, &Options{Schema: here.schema})
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
		woken := waits(t, here, id)
		check.NoError(t, end(id, c.Owner), "%s", name)
		check.NoError(t, woken(), "Wait that %s ends", name)
	}
	id := newID()
	_, err := there.Acquire(bg, id, claim())
	check.NoError(t, err, "Acquire")
	ctx, cancel := context.WithTimeout(bg, 300*time.Millisecond) // time for some questions
	defer cancel()
	check.ErrorIs(t, there.Wait(ctx, id), context.DeadlineExceeded, "Wait for a key that is held")
	woken := waits(t, here, id)
	here.Close()
	err = woken()
	check.True(t, err != nil && err.Error() == "pgstore: closed", "Wait that Close ends: %v", err)
}

// waits returns when somebody waits for a key, for ten seconds at most, and has seen it held. The next question is asked when
// the end of the wait is asked for, so that it finds whatever is done in between.
func waits(t *testing.T, s *Store, id driver.ID) (woken func() error) {
	t.Helper()
	asks, ended := make(chan struct{}), make(chan error, 1)
	s.waiting.Close()
	s.waiting = waiting.New("pgstore", func(ctx context.Context, ids []driver.ID) (map[driver.ID]uint64, error) {
		for range 2 { // that it is about to be asked, and that it may be
			select {
			case asks <- struct{}{}:
			case <-ctx.Done():
			}
		}
		return s.leases(ctx, ids)
	})
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	t.Cleanup(cancel)
	go func() { ended <- s.Wait(ctx, id) }()
	for range 3 { // the first question, and that the second one is about to be asked
		select {
		case <-asks:
		case err := <-ended:
			t.Fatalf("Wait for a key that is held: %v", err)
		}
	}
	return func() error {
		for {
			select {
			case <-asks:
			case err := <-ended:
				return err
			}
		}
	}
}
