package faults

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/storetest"
)

// ended is a store whose callers go home after so many Acquires.
type ended struct {
	driver.Store

	left atomic.Int64
	end  func()
}

func (s *ended) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	if s.left.Add(-1) == 0 {
		s.end()
	}
	return s.Store.Acquire(ctx, id, c)
}

// loaded runs a load on a store, and returns it when it has ended.
func loaded(s driver.Store) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	counting := &ended{Store: s, end: cancel}
	counting.left.Store(2000)
	l := NewLoad(counting, 100)
	l.Run(ctx, 8)
	return l
}

// A store that keeps its promises passes, whatever happens to calls.
func TestLoadOnABadNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		network := storetest.NewFaulty(store)
		defer network.Close()
		network.Randomly(1, 0.5, storetest.Refuse, storetest.ApplyThenFail, storetest.FailThenApplyAfter(50*time.Millisecond))
		l := loaded(network)
		time.Sleep(time.Second) // late calls arrive
		got := l.Audit(t, store)
		check.True(t, got.Ran > 90 && min(got.Unknown, got.Again, got.Released, got.Replayed) > 0, "too little happened: %+v", got)
	})
}

var errBroken = errors.New("broken")

// A twin makes some calls in a way of its own.
type twin struct {
	driver.Store

	acquire  func(id driver.ID, c driver.Claim) (driver.Grant, error)
	complete func(id driver.ID, o driver.Owner, out driver.Outcome) error
	release  func(id driver.ID, o driver.Owner) error
}

func (s *twin) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	if s.acquire != nil {
		return s.acquire(id, c)
	}
	return s.Store.Acquire(ctx, id, c)
}

func (s *twin) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	if s.complete != nil {
		return s.complete(id, o, out)
	}
	return s.Store.Complete(ctx, id, o, out)
}

func (s *twin) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	if s.release != nil {
		return s.release(id, o)
	}
	return s.Store.Release(ctx, id, o, n)
}

// twins make what is wrong of a store that is right, and are found by what they say.
var twins = map[string]struct {
	of    func(ctx context.Context, s driver.Store) *twin
	found string
}{
	"nothing": {func(context.Context, driver.Store) *twin { return &twin{} }, ""},
	"an acknowledged Complete is not stored": {func(context.Context, driver.Store) *twin {
		return &twin{complete: func(driver.ID, driver.Owner, driver.Outcome) error { return nil }}
	}, `a key is running with "", stored was "run 1`},
	"a record is lost after its Complete": {func(ctx context.Context, s driver.Store) *twin {
		return &twin{complete: func(id driver.ID, o driver.Owner, out driver.Outcome) error {
			r, _ := s.Get(ctx, id)
			return errors.Join(s.Complete(ctx, id, o, out), s.Resolve(ctx, id, driver.Resolution{Fence: r.Fence, Force: true}))
		}}
	}, "two outcomes of one key"},
	"a record is lost while its owner works": {func(ctx context.Context, s driver.Store) *twin {
		return &twin{complete: func(id driver.ID, o driver.Owner, out driver.Outcome) error {
			return errors.Join(s.Release(ctx, id, o, driver.Note{}), s.Complete(ctx, id, o, out))
		}}
	}, "an owner whose key nobody may take cannot complete it"},
	"a done key is granted": {func(ctx context.Context, s driver.Store) *twin {
		return &twin{acquire: func(id driver.ID, c driver.Claim) (driver.Grant, error) {
			g, err := s.Acquire(ctx, id, c)
			if g.Verdict == driver.Done {
				g.Verdict = driver.Acquired
			}
			return g, err
		}}
	}, "a key ran"},
	"a replay differs": {func(ctx context.Context, s driver.Store) *twin {
		return &twin{acquire: func(id driver.ID, c driver.Claim) (driver.Grant, error) {
			g, err := s.Acquire(ctx, id, c)
			if g.Verdict == driver.Done {
				g.Record.Outcome.Bytes = append(g.Record.Outcome.Bytes, '!')
			}
			return g, err
		}}
	}, "two outcomes of one key"},
	"another outcome is stored than was acknowledged": {func(ctx context.Context, s driver.Store) *twin {
		return &twin{
			acquire: func(id driver.ID, c driver.Claim) (driver.Grant, error) {
				g, err := s.Acquire(ctx, id, c)
				g.Record.Outcome.Bytes = g.Record.Outcome.Bytes[:max(0, len(g.Record.Outcome.Bytes)-1)]
				return g, err
			},
			complete: func(id driver.ID, o driver.Owner, out driver.Outcome) error {
				out.Bytes = append(out.Bytes, '!')
				return s.Complete(ctx, id, o, out)
			},
		}
	}, `!", stored was "run 1`},
	"a Complete is stored and said to be lost": {func(ctx context.Context, s driver.Store) *twin {
		return &twin{complete: func(id driver.ID, o driver.Owner, out driver.Outcome) error {
			return errors.Join(s.Complete(ctx, id, o, out), driver.ErrLost)
		}}
	}, "an owner whose key nobody may take cannot complete it"},
	"an Acquire that was refused is granted": {func(ctx context.Context, s driver.Store) *twin {
		return &twin{acquire: func(id driver.ID, c driver.Claim) (driver.Grant, error) {
			_, err := s.Acquire(ctx, id, c)
			return driver.Grant{}, errors.Join(err, driver.ErrUnavailable)
		}}
	}, "a key is held by nobody"},
	"an acknowledged Release is not made": {func(ctx context.Context, s driver.Store) *twin {
		return &twin{
			acquire: func(id driver.ID, c driver.Claim) (driver.Grant, error) {
				_, err := s.Acquire(ctx, id, c)
				return driver.Grant{}, errors.Join(err, errBroken)
			},
			release: func(driver.ID, driver.Owner) error { return nil },
		}
	}, "a key is held by nobody"},
	"an Acquire arrives after its Release and is granted": {func(ctx context.Context, s driver.Store) *twin {
		var late sync.Map
		return &twin{
			acquire: func(_ driver.ID, c driver.Claim) (driver.Grant, error) {
				late.Store(c.Owner, c)
				return driver.Grant{}, errBroken
			},
			release: func(id driver.ID, o driver.Owner) error {
				c, _ := late.LoadAndDelete(o)
				_, err := s.Acquire(ctx, id, c.(driver.Claim)) // the other way round, because this store has residues
				return err
			},
		}
	}, "a key is held by nobody"},
	"a caller is told that it has lost": {func(ctx context.Context, s driver.Store) *twin {
		return &twin{acquire: func(id driver.ID, c driver.Claim) (driver.Grant, error) {
			g, err := s.Acquire(ctx, id, c)
			if g.Verdict == driver.Running {
				g.Verdict = driver.Lost
			}
			return g, err
		}, complete: func(driver.ID, driver.Owner, driver.Outcome) error { return nil }}
	}, "a caller who has not given up is told"},
}

func TestAuditFindsWhatIsWrong(t *testing.T) {
	for name, c := range twins {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := memstore.New(nil)
				broken := c.of(t.Context(), store)
				broken.Store = store
				found := loaded(broken).audit(store)
				is := func(s string) bool { return strings.Contains(s, c.found) }
				if c.found == "" {
					check.Equal(t, len(found), 0, "found where nothing is wrong: %q", found)
					return
				}
				check.True(t, slices.ContainsFunc(found, is), "%q is not found, but %q", c.found, found[:min(5, len(found))])
			})
		})
	}
}
