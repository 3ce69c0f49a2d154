package mysqlstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// Wait implements [driver.Waiter]. All who wait in this process share one query, every 25 ms at first and every 250 ms later,
// for as long as somebody waits.
func (s *Store) Wait(ctx context.Context, id driver.ID) error {
	woken, err := s.waiting.enter(id)
	if err != nil {
		return err
	}
	defer s.waiting.leave(id, woken)
	select {
	case err := <-woken:
		return err
	case <-ctx.Done():
		return fmt.Errorf("mysqlstore: nothing has changed yet: %w", ctx.Err())
	}
}

// held are the fences of those of the keys that somebody has a lease on.
func (s *Store) held(ctx context.Context, ids []any) (map[driver.ID]uint64, error) {
	rows, err := s.db.QueryContext(ctx, s.text["held"]+places(len(ids)), ids...)
	if err != nil {
		return nil, failure(err)
	}
	defer rows.Close()
	held := make(map[driver.ID]uint64)
	for rows.Next() {
		var id []byte
		var fence uint64
		if err := rows.Scan(&id, &fence); err != nil {
			return nil, failure(err)
		}
		held[driver.ID(id)] = fence
	}
	return held, failure(rows.Err())
}

const (
	firstPause = 25 * time.Millisecond
	lastPause  = 250 * time.Millisecond
	mostAsked  = 1000 // of one question; the others are asked for by the next one
)

var errClosed = errors.New("mysqlstore: closed")

// waiting asks for the keys that somebody waits for, and wakes those whose key is not held any more as it was.
type waiting struct {
	held func(ctx context.Context, ids []any) (map[driver.ID]uint64, error)

	mu      sync.Mutex
	keys    map[driver.ID]map[chan error]uint64 // the fence that each of them saw first; 0: it has not looked yet
	fresh   bool                                // somebody came since the last question
	stop    context.CancelFunc                  // ends the asking; nil when nobody asks
	closed  bool
	running sync.WaitGroup
}

func newWaiting(held func(ctx context.Context, ids []any) (map[driver.ID]uint64, error)) *waiting {
	return &waiting{held: held, keys: make(map[driver.ID]map[chan error]uint64)}
}

func (w *waiting) enter(id driver.ID) (woken chan error, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, errClosed
	}
	woken = make(chan error, 1)
	if w.keys[id] == nil {
		w.keys[id] = make(map[chan error]uint64)
	}
	w.keys[id][woken], w.fresh = 0, true
	if w.stop == nil {
		var ctx context.Context
		ctx, w.stop = context.WithCancel(context.Background())
		w.running.Go(func() { w.ask(ctx) })
	}
	return woken, nil
}

func (w *waiting) leave(id driver.ID, woken chan error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.keys[id], woken)
	if len(w.keys[id]) == 0 {
		delete(w.keys, id)
	}
	if len(w.keys) == 0 && w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// ask ends with its context, which is when nobody waits.
func (w *waiting) ask(ctx context.Context) {
	pause := firstPause
	for {
		jitter := time.Duration(rand.Int64N(int64(pause / 2))) //nolint:gosec // whoever guesses it gains nothing
		select {
		case <-time.After(pause*3/4 + jitter):
		case <-ctx.Done():
			return
		}
		ids, fresh := w.asked()
		if len(ids) == 0 {
			continue // the last one is leaving
		}
		held, err := w.held(ctx, ids)
		w.tell(ctx, ids, held, err)
		if pause = min(2*pause, lastPause); fresh {
			pause = firstPause
		}
	}
}

func (w *waiting) asked() (ids []any, fresh bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fresh, w.fresh = w.fresh, false
	for id := range w.keys {
		if len(ids) == mostAsked {
			break // a map begins anywhere, so everybody's turn comes
		}
		ids = append(ids, id[:])
	}
	return ids, fresh
}

// tell wakes those of whose key something was heard, and all who were asked for if the question failed.
func (w *waiting) tell(ctx context.Context, ids []any, held map[driver.ID]uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return // who waits now has another who asks
	}
	for _, b := range ids {
		id := driver.ID(b.([]byte)) //nolint:forcetypeassert // see asked
		fence := held[id]
		for woken, seen := range w.keys[id] {
			if err == nil && fence != 0 && (seen == 0 || seen == fence) {
				w.keys[id][woken] = fence
				continue
			}
			wake(woken, err)
		}
	}
}

func wake(woken chan error, why error) {
	select {
	case woken <- why:
	default: // it is awake already
	}
}

func (w *waiting) close() {
	w.mu.Lock()
	w.closed = true
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
	for _, all := range w.keys {
		for woken := range all {
			wake(woken, errClosed)
		}
	}
	w.mu.Unlock()
	w.running.Wait()
}
