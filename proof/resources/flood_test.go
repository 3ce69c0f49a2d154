//go:build torture

package resources

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/diskstore"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/proof/report"
)

// flood is one caller who sends so many keys that the store is full, and others who were there before.
type flood struct {
	guard *onceward.Guard
	calls atomic.Int64
}

// asked is what came of asking for many keys.
type asked struct{ ran, replayed, refused, doubts int64 }

const (
	others   = 500
	unique   = 100_000
	capacity = 20_000
)

// ask asks for n keys of a scope. What is not the first answer to a key counts as run.
func (f *flood) ask(t *testing.T, scope string, n int) asked {
	t.Helper()
	var a struct{ ran, replayed, refused, doubts atomic.Int64 }
	each(256, numbered("key", n), func(name string) {
		ran := false
		key := onceward.Key{Scope: scope, Operation: "flood", Value: name}
		got, err := onceward.Do(t.Context(), f.guard, key, name, func(context.Context) (string, error) {
			ran = true
			f.calls.Add(1)
			return scope + name, nil
		})
		switch {
		case errors.Is(err, onceward.ErrUnavailable) && !ran:
			a.refused.Add(1)
		case errors.Is(err, onceward.ErrInDoubt):
			a.doubts.Add(1)
		case err != nil || got != scope+name:
			t.Errorf("the answer to %s: %q, %v", name, got, err)
		case ran:
			a.ran.Add(1)
		default:
			a.replayed.Add(1)
		}
	})
	return asked{a.ran.Load(), a.replayed.Load(), a.refused.Load(), a.doubts.Load()}
}

func floodOf(t *testing.T, store driver.Store) *flood {
	t.Helper()
	// The breaker would refuse for a moment what the store has, if one of so many callers at once were too slow.
	guard, err := onceward.New(store, &onceward.Options{BreakerFailures: 1 << 30})
	check.NoError(t, err, "making a guard")
	t.Cleanup(func() { _ = guard.Close(context.Background()) })
	return &flood{guard: guard}
}

func TestFloodOfABoundedStore(t *testing.T) {
	f := floodOf(t, memstore.New(&memstore.Options{MaxRecords: capacity}))
	check.Equal(t, f.ask(t, "others", others), asked{ran: others}, "before the flood")
	input, err := onceward.FingerprintJSON([]byte("1"))
	check.NoError(t, err, "a fingerprint")
	running, err := f.guard.Begin(t.Context(), onceward.Key{Scope: "others", Operation: "flood", Value: "running"}, nil, input)
	check.NoError(t, err, "a key that runs meanwhile")

	first, again := f.ask(t, "flood", unique), f.ask(t, "flood", capacity/2)
	check.NoError(t, running.Complete([]byte("done")), "Complete in a full store")
	after := f.ask(t, "others", others)
	report.Linef(t, "room for %d: %d keys of one scope %+v, the first of them again %+v, %d keys of others %+v",
		capacity, unique, first, again, others, after)
	check.Equal(t, after, asked{replayed: others}, "others, after the flood")
	check.Equal(t, again, asked{replayed: capacity / 2}, "the first half of what was taken")
	// The guard keeps its identity in the store, too.
	check.True(t, first.ran >= capacity-others-2 && first.ran+others+1 <= capacity,
		"%d keys were taken, by a store for %d", first.ran, capacity)
}

// There is room for all of them on the disk. Later there is less than the floor: everything is there, and nothing new comes.
func TestFloodOfADisk(t *testing.T) {
	n := report.Size(unique/10, unique)
	dir := filepath.Join(t.TempDir(), "data")
	store := openDisk(t, dir, nil)
	f := floodOf(t, store)
	check.Equal(t, f.ask(t, "others", others), asked{ran: others}, "before the flood")
	check.Equal(t, f.ask(t, "flood", n), asked{ran: int64(n)}, "the flood")
	check.NoError(t, f.guard.Close(t.Context()), "closing the guard")
	check.NoError(t, store.Close(), "closing the store")

	f = floodOf(t, openDisk(t, dir, &diskstore.Options{FreeSpaceFloor: 1 << 60}))
	after, again, fresh := f.ask(t, "others", others), f.ask(t, "flood", n), f.ask(t, "fresh", 1000)
	report.Linef(t, "%d keys of one scope, opened again below the floor: %+v, %d keys of others %+v, 1000 new ones %+v",
		n, again, others, after, fresh)
	check.Equal(t, after, asked{replayed: others}, "others, after the flood")
	check.Equal(t, again, asked{replayed: int64(n)}, "the flood again")
	check.Equal(t, fresh, asked{refused: 1000}, "new keys below the floor")
}

// forgetful is a store that makes room as a cache does: at the cost of what it has.
type forgetful struct {
	driver.Store

	mu sync.RWMutex
}

func (s *forgetful) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	grant, err := s.Store.Acquire(ctx, id, c)
	if errors.Is(err, driver.ErrFull) {
		s.Store = memstore.New(&memstore.Options{MaxRecords: capacity})
		return s.Store.Acquire(ctx, id, c)
	}
	return grant, err
}

func (s *forgetful) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.Store.Complete(ctx, id, o, out)
}

func TestFloodSeesWhatAStoreForgets(t *testing.T) {
	f := floodOf(t, &forgetful{Store: memstore.New(&memstore.Options{MaxRecords: capacity})})
	f.ask(t, "others", others)
	f.ask(t, "flood", 2*capacity)
	after := f.ask(t, "others", others)
	check.Equal(t, after.ran, others, "others whose operation ran again: %+v", after)
}
