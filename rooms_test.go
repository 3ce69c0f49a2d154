package onceward_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// gets counts the reads of a store.
type gets struct {
	driver.Store
	n atomic.Int64
}

func (g *gets) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	g.n.Add(1)
	return g.Store.Get(ctx, id)
}

func (g *gets) Unwrap() driver.Store { return g.Store }

func waiting(d time.Duration) *onceward.Policy { return &onceward.Policy{Wait: d} }

func TestWaitersShareOnePollAndGetTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &gets{Store: memstore.New(nil)}
		running, replica := newGuard(t, store, nil), newGuard(t, store, &onceward.Options{WaitersPerKey: 5000})
		a := begin(t, running, nil)
		var all sync.WaitGroup
		var got atomic.Int32
		for range 5000 {
			all.Go(func() {
				replay, err := replica.Begin(context.Background(), payment, waiting(time.Minute), amount)
				check.NoError(t, err, "Begin of a waiter")
				answer, ok := replay.Outcome()
				check.True(t, ok && string(answer) == "paid", "a waiter got %q, %v", answer, ok)
				clear(answer) // answers belong to their callers: the others must not see this
				got.Add(1)
			})
		}
		time.Sleep(20 * time.Second)
		check.Equal(t, got.Load(), 0, "waiters that are back before the end")
		check.True(t, store.n.Load() < 40, "5000 waiters read the store %d times in 20 s", store.n.Load())
		check.NoError(t, a.Complete([]byte("paid")), "Complete")
		done := time.Now()
		all.Wait()
		check.True(t, time.Since(done) <= 1200*time.Millisecond, "the last waiter was told after %v", time.Since(done))
	})
}

func TestWaitersInTheSameProcessAreToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, memstore.New(nil), nil)
		a := begin(t, g, nil)
		go func() {
			time.Sleep(time.Minute)
			check.NoError(t, a.Complete([]byte("paid")), "Complete")
		}()
		begun := time.Now()
		_, err := g.Begin(context.Background(), payment, waiting(time.Hour), amount)
		check.NoError(t, err, "Begin of a waiter")
		check.Equal(t, time.Since(begun), time.Minute, "waited")
	})
}

func TestAWaiterIsRefusedAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, memstore.New(nil), nil)
		a := begin(t, g, nil)
		begun := time.Now()
		_, err := g.Begin(context.Background(), payment, waiting(7*time.Second), amount)
		check.ErrorIs(t, err, onceward.ErrInProgress, "Begin of a waiter")
		check.Equal(t, time.Since(begun), 7*time.Second, "waited")
		check.NoError(t, a.Complete(nil), "Complete")
	})
}

func TestOneWaiterRunsAfterARelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		a := begin(t, newGuard(t, store, nil), nil)
		replica := newGuard(t, store, nil)
		var all sync.WaitGroup
		var ran atomic.Int32
		for range 50 {
			all.Go(func() {
				b, err := replica.Begin(context.Background(), payment, waiting(time.Minute), amount)
				check.NoError(t, err, "Begin of a waiter")
				if _, ok := b.Outcome(); !ok {
					ran.Add(1)
					time.Sleep(3 * time.Second)
					check.NoError(t, b.Complete([]byte("paid")), "Complete")
				}
			})
		}
		synctest.Wait()
		check.NoError(t, a.Release("rolled back"), "Release")
		all.Wait()
		check.Equal(t, ran.Load(), 1, "waiters that ran")
	})
}

func TestWaitersLearnOfADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, memstore.New(nil), nil)
		a := begin(t, g, nil)
		go func() {
			time.Sleep(time.Second)
			check.NoError(t, a.Doubt("upstream broke off"), "Doubt")
		}()
		_, err := g.Begin(context.Background(), payment, waiting(time.Minute), amount)
		check.ErrorIs(t, err, onceward.ErrInDoubt, "Begin of a waiter")
	})
}

func TestAWaiterWhoseClientLeftNeverRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, memstore.New(nil), nil)
		a := begin(t, g, nil)
		ctx, leave := context.WithCancel(context.Background())
		left := make(chan error)
		go func() {
			_, err := g.Begin(ctx, payment, waiting(time.Hour), amount)
			left <- err
		}()
		synctest.Wait()
		leave()
		check.ErrorIs(t, <-left, context.Canceled, "Begin of a waiter who left")
		check.NoError(t, a.Release("rolled back"), "Release")
		time.Sleep(time.Minute)
		check.Equal(t, state(t, g), "absent", "state")
	})
}

func TestTooManyWaitersAreRefusedAtOnce(t *testing.T) {
	refusedAtOnce(t, onceward.Options{Waiters: 10}, 4*6-10)
	refusedAtOnce(t, onceward.Options{WaitersPerKey: 4}, 4*(6-4))
}

// refusedAtOnce has six duplicates wait for each of four keys.
func refusedAtOnce(t *testing.T, opts onceward.Options, want int32) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(t, memstore.New(nil), &opts)
		begun := time.Now()
		var attempts []*onceward.Attempt
		var all sync.WaitGroup
		var at0 atomic.Int32
		for range 4 {
			key := payment
			key.Value = onceward.NewKey("")
			a, err := g.Begin(context.Background(), key, nil, amount)
			check.NoError(t, err, "Begin")
			attempts = append(attempts, a)
			for range 6 {
				all.Go(func() {
					_, err := g.Begin(context.Background(), key, waiting(time.Minute), amount)
					if errors.Is(err, onceward.ErrInProgress) && time.Since(begun) == 0 {
						at0.Add(1)
					}
				})
			}
		}
		synctest.Wait()
		check.Equal(t, at0.Load(), want, "duplicates refused at once")
		for _, a := range attempts {
			check.NoError(t, a.Complete(nil), "Complete")
		}
		all.Wait()
	})
}

func TestWaitersAreToldAtOnceOfAnEndInTheirProcess(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, g *onceward.Guard, a *onceward.Attempt){
		"released": func(t *testing.T, _ *onceward.Guard, a *onceward.Attempt) {
			check.NoError(t, a.Release("rolled back"), "Release")
		},
		"resolved": func(t *testing.T, g *onceward.Guard, _ *onceward.Attempt) {
			force := driver.Resolution{Fence: 1, Force: true}
			check.NoError(t, g.Resolve(context.Background(), payment, force), "Resolve")
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGuard(t, memstore.New(nil), nil)
				first := begin(t, g, nil)
				begun := time.Now()
				go func() {
					time.Sleep(time.Minute)
					end(t, g, first)
				}()
				second := begin(t, g, waiting(time.Hour))
				check.Equal(t, time.Since(begun), time.Minute, "waited")
				check.NoError(t, second.Complete(nil), "Complete")
			})
		})
	}
}

// While they wait, the key is released and another request takes it and completes: its answer is not theirs.
func TestWaitersDoNotGetTheAnswerToAnotherRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		g, replica := newGuard(t, store, nil), newGuard(t, store, nil)
		first := begin(t, g, nil)
		go func() {
			time.Sleep(time.Minute)
			check.NoError(t, first.Release("rolled back"), "Release")
			second, err := g.Begin(context.Background(), payment, nil, other)
			check.NoError(t, err, "Begin of the other request")
			check.NoError(t, second.Complete([]byte("not yours")), "Complete")
		}()
		_, err := replica.Begin(context.Background(), payment, waiting(time.Hour), amount)
		check.ErrorIs(t, err, onceward.ErrKeyReused, "Begin of a waiter")
	})
}

// noticing is a store that tells when a record has changed.
type noticing struct {
	driver.Store
	changed chan struct{}
}

func (n *noticing) Wait(ctx context.Context, _ driver.ID) error {
	select {
	case <-n.changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAHintOfTheStoreWakesWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &noticing{Store: memstore.New(nil), changed: make(chan struct{})}
		replica := newGuard(t, store, nil)
		a := begin(t, newGuard(t, store, nil), nil)
		begun := time.Now()
		go func() {
			time.Sleep(time.Minute)
			check.NoError(t, a.Complete(nil), "Complete")
			store.changed <- struct{}{}
		}()
		begin(t, replica, waiting(time.Hour))
		check.Equal(t, time.Since(begun), time.Minute, "waited")
	})
}
