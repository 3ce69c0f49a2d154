package onceward_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/storetest"
)

// The first owner is cut off from the store, the second takes over and answers: the first must not answer, too.
func TestAnOwnerWhoseLeaseIsOverDoesNotAnswer(t *testing.T) {
	faulty(t, onceward.Options{Policy: rerun}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		other := peer(t, f, rerun)
		verbs := []storetest.Verb{
			storetest.VerbExtend, storetest.VerbComplete, storetest.VerbGet, storetest.VerbAcquire,
		}
		got, err := onceward.Do(context.Background(), g, payment, "", func(ctx context.Context) (string, error) {
			for _, v := range verbs {
				f.Always(v, storetest.Refuse)
			}
			<-ctx.Done()
			time.Sleep(5 * time.Second)
			second, err := onceward.Do(context.Background(), other, payment, "", func(context.Context) (string, error) {
				return "the second's", nil
			})
			check.NoError(t, err, "Do of the second")
			check.Equal(t, second, "the second's", "result of the second")
			return "the first's", nil
		})
		check.ErrorIs(t, err, onceward.ErrInDoubt, "Do of the first, which returned %q", got)
		check.ErrorIs(t, err, onceward.ErrLeaseLost, "Do of the first")
		for _, v := range verbs {
			f.Always(v, storetest.Fault{})
		}
	})
}

func TestDoOfALostOwnerReplays(t *testing.T) {
	for name, end := range map[string]error{
		"its context's error": nil, "released": onceward.Retryable(context.Canceled), "failed": onceward.Final(context.Canceled),
	} {
		t.Run(name, func(t *testing.T) {
			faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, _ *storetest.Faulty) {
				got, err := onceward.Do(context.Background(), g, payment, "", func(ctx context.Context) (string, error) {
					out := driver.Outcome{Kind: driver.Answer, Bytes: []byte(`{"type":"string","value":"resolved"}`)}
					force := driver.Resolution{Fence: 1, Force: true, Outcome: &out}
					check.NoError(t, g.Resolve(ctx, payment, force), "Resolve")
					<-ctx.Done()
					if end != nil {
						return "", end
					}
					return "", ctx.Err()
				})
				check.NoError(t, err, "Do")
				check.Equal(t, got, "resolved", "result")
			})
		})
	}
}

// A goroutine that the handler left behind labels its calls with the fence: it must not get the winner's.
func TestALostAttemptKeepsItsFence(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	a := begin(t, g, nil)
	out := driver.Outcome{Kind: driver.Answer}
	force := driver.Resolution{Fence: a.Fence(), Force: true, Outcome: &out}
	check.NoError(t, g.Resolve(context.Background(), payment, force), "Resolve")
	quit, seen := make(chan struct{}), make(chan uint64)
	go func() {
		for fence := a.Fence(); ; fence = max(fence, a.Fence()) {
			select {
			case <-quit:
				seen <- fence
				return
			default:
			}
		}
	}()
	check.ErrorIs(t, a.Complete([]byte("mine")), onceward.ErrLeaseLost, "Complete")
	close(quit)
	check.Equal(t, <-seen, 1, "fence of the lost attempt")
}

func TestASignOfLifeUnderWayDoesNotUndoADoubt(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		gate := f.Hold(storetest.VerbExtend)
		<-gate.Arrived()
		doubted := make(chan error)
		go func() { doubted <- a.Doubt("upstream broke off") }()
		synctest.Wait()
		gate.Open()
		check.NoError(t, <-doubted, "Doubt")
		synctest.Wait() // a sign of life that nobody waited for has arrived by now
		check.Equal(t, state(t, g), "in-doubt", "state")
	})
}

func TestLostIsAnAnswerOfTheStore(t *testing.T) {
	faulty(t, onceward.Options{BreakerPause: time.Hour}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		out := driver.Outcome{Kind: driver.Answer, Bytes: []byte("stored")}
		force := driver.Resolution{Fence: 1, Force: true, Outcome: &out}
		check.NoError(t, f.Resolve(context.Background(), payment.ID(), force), "Resolve")
		f.Always(storetest.VerbGet, storetest.Refuse)
		for range 5 {
			_, err := g.Lookup(context.Background(), payment)
			check.ErrorIs(t, err, onceward.ErrUnavailable, "Lookup")
		}
		f.Always(storetest.VerbGet, storetest.Fault{})
		check.ErrorIs(t, a.Complete([]byte("mine")), onceward.ErrLeaseLost, "Complete")
		answer, ok := a.Outcome()
		check.True(t, ok && string(answer) == "stored", "behind a breaker that should have closed: %q, %v", answer, ok)
	})
}

func TestWaitersOfAnotherRequestLearnNothingOfItsDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memstore.New(nil)
		g, replica := newGuard(t, store, nil), newGuard(t, store, nil)
		first := begin(t, g, nil)
		go func() {
			time.Sleep(time.Minute)
			check.NoError(t, first.Release("rolled back"), "Release")
			second, err := g.Begin(context.Background(), payment, nil, other)
			check.NoError(t, err, "Begin of the other request")
			check.NoError(t, second.Doubt("upstream broke off"), "Doubt")
		}()
		_, err := replica.Begin(context.Background(), payment, waiting(time.Hour), amount)
		check.ErrorIs(t, err, onceward.ErrKeyReused, "Begin of a waiter")
	})
}
