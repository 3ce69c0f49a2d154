package onceward_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/storetest"
)

var rerun = onceward.Policy{OnCrash: onceward.Rerun}

// faulty runs a test in fake time with a guard on a store that does what the test says.
func faulty(t *testing.T, opts onceward.Options, test func(t *testing.T, g *onceward.Guard, f *storetest.Faulty)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(memstore.New(nil))
		t.Cleanup(f.Close)
		test(t, newGuard(t, f, &opts), f)
	})
}

// peer is a guard on the same store that meets no faults: the other replica.
func peer(t *testing.T, f *storetest.Faulty, policy onceward.Policy) *onceward.Guard {
	t.Helper()
	return newGuard(t, f.Unwrap(), &onceward.Options{Policy: policy})
}

func TestBeginAndCompleteAreOneCallEach(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		before := f.Calls(storetest.VerbAcquire)
		check.NoError(t, begin(t, g, nil).Complete([]byte("paid")), "Complete")
		replayed(t, g, "paid")
		check.Equal(t, f.Calls(storetest.VerbAcquire)-before, 2, "Acquire for a run and a replay")
		check.Equal(t, f.Calls(storetest.VerbComplete), 2, "Complete, with the one of the identity record")
		for _, verb := range []storetest.Verb{
			storetest.VerbExtend, storetest.VerbRelease, storetest.VerbResolve, storetest.VerbGet,
		} {
			check.Equal(t, f.Calls(verb), 0, "calls of %v", verb)
		}
	})
}

func TestAWinnerWhoseReplyWasLostWinsAgain(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		f.Next(storetest.VerbAcquire, storetest.ApplyThenFail, storetest.ApplyThenFail)
		a := begin(t, g, nil)
		check.Equal(t, a.Number(), 1, "attempt")
		check.NoError(t, a.Complete([]byte("paid")), "Complete")
		replayed(t, g, "paid")
	})
}

func TestAStoreThatRefusesRunsNothing(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		f.Next(storetest.VerbAcquire, storetest.Refuse)
		before := time.Now()
		r := refusal(t, g)
		check.ErrorIs(t, r, onceward.ErrUnavailable, "Begin")
		check.True(t, r.RetryAfter > 0, "no RetryAfter")
		check.Equal(t, time.Since(before), 0, "a definite refusal took")
		check.Equal(t, state(t, g), "absent", "state")
		check.NoError(t, begin(t, g, nil).Complete(nil), "Complete of the next caller")
	})
}

// The Acquire lands, no reply ever comes, and the caller is told 503: the key must not stay taken.
func TestAnUnknownBeginIsReleased(t *testing.T) {
	faulty(t, onceward.Options{BreakerFailures: 1000}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		other := peer(t, f, onceward.Policy{})
		f.Always(storetest.VerbAcquire, storetest.ApplyThenFail)
		begun := time.Now()
		refused(t, g, onceward.ErrUnavailable)
		check.True(t, time.Since(begun) <= 5*time.Second, "Begin asked for %v", time.Since(begun))
		f.Always(storetest.VerbAcquire, storetest.Fault{})
		synctest.Wait()
		check.Equal(t, state(t, other), "absent", "state after the release in the background")
		check.NoError(t, begin(t, other, nil).Complete(nil), "Complete of the next caller")
	})
}

// The Acquire is on its way when the caller gives up, and arrives after its Release.
func TestALateAcquireIsRefused(t *testing.T) {
	faulty(t, onceward.Options{BreakerFailures: 1000}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		f.Always(storetest.VerbAcquire, storetest.FailThenApply)
		refused(t, g, onceward.ErrUnavailable)
		f.Always(storetest.VerbAcquire, storetest.Fault{})
		synctest.Wait() // the release has landed
		check.True(t, f.Apply() > 0, "no Acquire was late")
		check.Equal(t, state(t, g), "absent", "a ghost holds the key: state")
	})
}

func TestTheReleaseOfAnUnknownBeginGoesOnUntilItLands(t *testing.T) {
	faulty(t, onceward.Options{BreakerFailures: 1000}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		other := peer(t, f, onceward.Policy{})
		f.Always(storetest.VerbAcquire, storetest.ApplyThenFail)
		f.Always(storetest.VerbRelease, storetest.Refuse)
		refused(t, g, onceward.ErrUnavailable)
		time.Sleep(time.Hour)
		check.Equal(t, state(t, other), "in-doubt", "state while the store refuses the release")
		f.Always(storetest.VerbRelease, storetest.Fault{})
		time.Sleep(10 * time.Second)
		check.Equal(t, state(t, other), "absent", "state")
	})
}

func TestAnUnknownCompleteIsBroughtHome(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{
		"refused": storetest.Refuse, "applied, reply lost": storetest.ApplyThenFail, "applied late": storetest.FailThenApply,
	} {
		t.Run(name, func(t *testing.T) {
			faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
				other := peer(t, f, onceward.Policy{})
				a := begin(t, g, nil)
				f.Always(storetest.VerbComplete, fault)
				begun := time.Now()
				check.ErrorIs(t, a.Complete([]byte("paid")), onceward.ErrUnavailable, "Complete")
				check.True(t, time.Since(begun) < 8*time.Second, "the caller waited %v", time.Since(begun))
				time.Sleep(10 * time.Minute) // twenty leases, and the heartbeat goes on
				if fault != storetest.ApplyThenFail {
					refused(t, other, onceward.ErrInProgress)
				}
				f.Always(storetest.VerbComplete, storetest.Fault{})
				time.Sleep(10 * time.Second)
				replayed(t, other, "paid")
				f.Apply()
				replayed(t, other, "paid")
			})
		})
	}
}

// The caller has its bytes back when Complete returns, also while the guard still brings them to the store.
func TestAnAnswerThatIsStillBeingStoredIsTheGuardsOwn(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		f.Always(storetest.VerbComplete, storetest.Refuse)
		answer := []byte("paid")
		check.ErrorIs(t, a.Complete(answer), onceward.ErrUnavailable, "Complete")
		copy(answer, "lost")
		f.Always(storetest.VerbComplete, storetest.Fault{})
		time.Sleep(10 * time.Second)
		replayed(t, g, "paid")
	})
}

func TestCloseWaitsForWhatIsNotStored(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		f.Always(storetest.VerbComplete, storetest.Refuse)
		check.ErrorIs(t, a.Complete([]byte("paid")), onceward.ErrUnavailable, "Complete")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		go func() {
			time.Sleep(30 * time.Second)
			f.Always(storetest.VerbComplete, storetest.Fault{})
		}()
		check.NoError(t, g.Close(ctx), "Close")
		replayed(t, peer(t, f, onceward.Policy{}), "paid")
	})
}

func TestCloseWaitsForAllThatIsNotStored(t *testing.T) {
	faulty(t, onceward.Options{CompleteTimeout: time.Millisecond}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		var gates []*storetest.Gate
		for range 3 {
			key := payment
			key.Value = onceward.NewKey("")
			a, err := g.Begin(context.Background(), key, nil, amount)
			check.NoError(t, err, "Begin")
			f.Next(storetest.VerbComplete, storetest.Refuse, storetest.Refuse)
			check.ErrorIs(t, a.Complete(nil), onceward.ErrUnavailable, "Complete")
			gates = append(gates, f.Hold(storetest.VerbComplete))
			<-gates[len(gates)-1].Arrived()
		}
		closed := make(chan error, 1)
		go func() { closed <- g.Close(context.Background()) }()
		for _, gate := range gates {
			synctest.Wait()
			check.Equal(t, len(closed), 0, "Close is back before all is stored")
			gate.Open()
		}
		check.NoError(t, <-closed, "Close")
	})
}

func TestCloseSaysWhatItLeavesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(memstore.New(nil))
		defer f.Close()
		g, err := onceward.New(f, nil)
		check.NoError(t, err, "New")
		a := begin(t, g, nil)
		f.Always(storetest.VerbComplete, storetest.Refuse)
		check.ErrorIs(t, a.Complete(nil), onceward.ErrUnavailable, "Complete")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		check.ErrorIs(t, g.Close(ctx), context.DeadlineExceeded, "Close")
	})
}

// Under hold nobody can take over, so a silent store is no reason to stop.
func TestUnderHoldASilentStoreCancelsNothing(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		f.Always(storetest.VerbExtend, storetest.Refuse)
		time.Sleep(5 * time.Minute)
		check.NoError(t, a.Context().Err(), "context")
		refused(t, g, onceward.ErrInDoubt)
		f.Always(storetest.VerbExtend, storetest.Fault{})
		check.NoError(t, a.Complete([]byte("paid")), "late Complete")
		replayed(t, g, "paid")
	})
}

// Under rerun somebody may take over, so the owner has to stop before its lease is over.
func TestUnderRerunTheOwnerStopsBeforeItsLeaseIsOver(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{
		"refuses": storetest.Refuse, "is silent": storetest.Delay(time.Hour), "replies get lost": storetest.ApplyThenFail,
	} {
		t.Run(name, func(t *testing.T) {
			faulty(t, onceward.Options{Policy: rerun}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
				f.Always(storetest.VerbExtend, fault)
				a := begin(t, g, nil)
				begun := time.Now()
				<-a.Context().Done()
				check.ErrorIs(t, context.Cause(a.Context()), onceward.ErrLeaseLost, "cause")
				took := time.Since(begun)
				check.True(t, 26*time.Second < took && took <= 27*time.Second, "stopped after %v of a lease of 30s", took)
			})
		})
	}
}

// A sign of life that is sent while the attempt ends finds the key done: that is no loss.
func TestASignOfLifeDuringTheEndIsNoLoss(t *testing.T) {
	var seen steps
	opts := onceward.Options{Trace: seen.trace, StoreTimeout: time.Hour, CompleteTimeout: time.Hour}
	faulty(t, opts, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		gate := f.HoldReply(storetest.VerbComplete)
		completed := make(chan error)
		go func() { completed <- a.Complete([]byte("paid")) }()
		<-gate.Arrived()
		time.Sleep(15 * time.Second)
		check.Equal(t, f.Calls(storetest.VerbExtend), 1, "signs of life")
		gate.Open()
		check.NoError(t, <-completed, "Complete")
		check.Equal(t, seen.count("lease-lost"), 0, "losses")
	})
}

func TestTransientErrorsOfTheHeartbeatAreOutlived(t *testing.T) {
	faulty(t, onceward.Options{Policy: rerun}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		for range 10 {
			f.Next(storetest.VerbExtend, storetest.Refuse, storetest.ApplyThenFail, storetest.Delay(time.Hour), storetest.Fault{})
			time.Sleep(25 * time.Second)
		}
		check.NoError(t, a.Context().Err(), "context")
		check.NoError(t, a.Complete(nil), "Complete")
	})
}

func TestALostOwnerNeverAnswersWithItsOwn(t *testing.T) {
	faulty(t, onceward.Options{Policy: rerun}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		f.Always(storetest.VerbExtend, storetest.Refuse)
		other := peer(t, f, rerun)
		first := begin(t, g, nil)
		time.Sleep(31 * time.Second)
		second := begin(t, other, nil)
		check.True(t, second.Fence() > first.Fence(), "fence %d after %d", second.Fence(), first.Fence())

		err := first.Complete([]byte("the first's"))
		check.ErrorIs(t, err, onceward.ErrLeaseLost, "Complete of the lost owner while the second runs")
		check.ErrorIs(t, err, onceward.ErrInProgress, "Complete of the lost owner while the second runs")
		_, ok := first.Outcome()
		check.True(t, !ok, "there is nothing to replay yet")
		check.NoError(t, second.Complete([]byte("the second's")), "Complete")
		replayed(t, other, "the second's")
	})
}

func TestALostOwnerReplaysWhatIsStored(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, _ *storetest.Faulty) {
		operator := func(kind driver.Kind) driver.Resolution {
			out := driver.Outcome{Kind: kind, Bytes: []byte("the operator's"), Retain: time.Hour}
			return driver.Resolution{Fence: 1, Outcome: &out, Force: true}
		}
		a := begin(t, g, nil)
		check.NoError(t, g.Resolve(context.Background(), payment, operator(driver.Answer)), "Resolve")
		check.ErrorIs(t, a.Complete([]byte("mine")), onceward.ErrLeaseLost, "Complete")
		answer, ok := a.Outcome()
		check.True(t, ok && string(answer) == "the operator's", "Outcome is %q, %v", answer, ok)
	})
}

func TestALostOwnerWithoutAnAnswerIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		outcome *driver.Outcome
		get     storetest.Fault
		want    error
	}{
		"tombstone":         {&driver.Outcome{Kind: driver.Tombstone, Retain: time.Hour}, storetest.Fault{}, onceward.ErrNotStored},
		"released by force": {nil, storetest.Fault{}, onceward.ErrInDoubt},
		"store silent":      {&driver.Outcome{Kind: driver.Answer, Retain: time.Hour}, storetest.Refuse, onceward.ErrInDoubt},
	} {
		t.Run(name, func(t *testing.T) {
			faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
				a := begin(t, g, nil)
				force := driver.Resolution{Fence: 1, Outcome: c.outcome, Force: true}
				check.NoError(t, g.Resolve(context.Background(), payment, force), "Resolve")
				f.Always(storetest.VerbGet, c.get)
				err := a.Complete([]byte("mine"))
				check.ErrorIs(t, err, c.want, "Complete")
				check.True(t, !errors.Is(err, onceward.ErrUnavailable), "%v would make the caller send its own answer", err)
			})
		})
	}
}

func TestAHandlerWhoseKeyWasResolvedIsCancelled(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, _ *storetest.Faulty) {
		a := begin(t, g, nil)
		out := driver.Outcome{Kind: driver.Answer, Retain: time.Hour}
		force := driver.Resolution{Fence: 1, Outcome: &out, Force: true}
		check.NoError(t, g.Resolve(context.Background(), payment, force), "Resolve")
		<-a.Context().Done()
		check.ErrorIs(t, context.Cause(a.Context()), onceward.ErrLeaseLost, "cause")
	})
}

func TestAHandlerThatHangsIsInDoubtAfterMaxExecution(t *testing.T) {
	for _, policy := range []onceward.Policy{{}, {OnCrash: onceward.Rerun, MaxAttempts: 1}} {
		faulty(t, onceward.Options{Policy: policy}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
			a := begin(t, g, nil)
			begun := time.Now()
			<-a.Context().Done()
			check.Equal(t, time.Since(begun), 10*time.Minute, "cancelled after")
			if policy.OnCrash == onceward.Rerun {
				time.Sleep(30 * time.Second) // the handler has its lease to notice
			}
			synctest.Wait()
			refused(t, g, onceward.ErrInDoubt)
			extends := f.Calls(storetest.VerbExtend)
			time.Sleep(time.Hour)
			check.Equal(t, f.Calls(storetest.VerbExtend), extends, "signs of life after the end")
			if policy.OnCrash != onceward.Rerun {
				check.NoError(t, a.Complete([]byte("paid")), "late Complete")
				replayed(t, g, "paid")
			}
		})
	}
}

func TestADeadOwnersKeyIsInDoubtOrRunsAgainAfterItsLease(t *testing.T) {
	for _, policy := range []onceward.Policy{{}, rerun} {
		faulty(t, onceward.Options{Policy: policy}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
			begin(t, g, nil)
			f.Always(storetest.VerbExtend, storetest.FailThenApply) // the owner is dead: nothing of it arrives
			other := peer(t, f, policy)
			time.Sleep(30*time.Second - time.Nanosecond)
			refused(t, other, onceward.ErrInProgress)
			time.Sleep(time.Nanosecond)
			if policy.OnCrash != onceward.Rerun {
				refused(t, other, onceward.ErrInDoubt)
				return
			}
			second := begin(t, other, nil)
			check.Equal(t, second.Number(), 2, "attempt")
			check.NoError(t, second.Complete(nil), "Complete")
		})
	}
}

func TestReleaseAndDoubtGoOnInTheBackground(t *testing.T) {
	faulty(t, onceward.Options{}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		a := begin(t, g, nil)
		f.Always(storetest.VerbRelease, storetest.Refuse)
		check.ErrorIs(t, a.Release("rolled back"), onceward.ErrUnavailable, "Release")
		refused(t, g, onceward.ErrInProgress)
		f.Always(storetest.VerbRelease, storetest.Fault{})
		time.Sleep(10 * time.Second)
		b := begin(t, g, nil)
		f.Always(storetest.VerbExtend, storetest.Refuse)
		check.ErrorIs(t, b.Doubt("upstream broke off"), onceward.ErrUnavailable, "Doubt")
		f.Always(storetest.VerbExtend, storetest.Fault{})
		time.Sleep(10 * time.Second)
		refused(t, g, onceward.ErrInDoubt)
	})
}

func TestFailOpenRunsUnprotectedAndSaysSo(t *testing.T) {
	var seen steps
	opts := onceward.Options{Trace: seen.trace, Policy: onceward.Policy{FailOpen: true}}
	faulty(t, opts, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		f.Next(storetest.VerbAcquire, storetest.Refuse)
		a := begin(t, g, nil)
		check.Equal(t, a.Fence(), 0, "fence")
		_, found := onceward.FromContext(a.Context())
		check.True(t, found, "FromContext finds no attempt")
		check.ErrorIs(t, a.Complete([]byte("paid")), onceward.ErrUnavailable, "Complete")
		check.Equal(t, seen.count("unprotected"), 1, "traces")
		check.Equal(t, state(t, g), "absent", "state")
		check.NoError(t, begin(t, g, nil).Complete(nil), "Complete when the store is back")
	})
}

func TestFailOpenDoesNotOpenAClosedGuard(t *testing.T) {
	g := newGuard(t, memstore.New(nil), &onceward.Options{Policy: onceward.Policy{FailOpen: true}})
	closeGuard(t, g)
	refused(t, g, onceward.ErrUnavailable)
}

// The store was down when the guard started, and turns out to hold keys of other rules.
func TestOtherIdentityRulesAreNeverAReasonToRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := storetest.NewFaulty(memstore.New(nil))
		defer f.Close()
		newGuard(t, f, nil)
		f.Next(storetest.VerbAcquire, storetest.Refuse)
		g := newGuard(t, f, &onceward.Options{Identity: "another scope", Policy: onceward.Policy{FailOpen: true}})
		refused(t, g, onceward.ErrUnavailable)
	})
}

func TestATakeOverKeepsThePolicyOfTheFirst(t *testing.T) {
	faulty(t, onceward.Options{Policy: rerun}, func(t *testing.T, g *onceward.Guard, f *storetest.Faulty) {
		check.NoError(t, begin(t, g, nil).Doubt("timeout"), "Doubt")
		second := begin(t, peer(t, f, onceward.Policy{}), nil) // its own policy is hold
		check.Equal(t, second.OnCrash(), onceward.Rerun, "crash policy")
		check.NoError(t, second.Complete(nil), "Complete")
	})
}

// leaving is a store whose caller leaves while the key is granted.
type leaving struct {
	driver.Store
	leave func()
}

func (l *leaving) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	l.leave()
	return l.Store.Acquire(context.WithoutCancel(ctx), id, c)
}

func TestNothingRunsForACallerWhoLeftMeanwhile(t *testing.T) {
	ctx, leave := context.WithCancel(context.Background())
	store := &leaving{Store: memstore.New(nil), leave: func() {}}
	g := newGuard(t, store, nil)
	store.leave = leave
	_, err := g.Begin(ctx, payment, nil, amount)
	check.ErrorIs(t, err, context.Canceled, "Begin")
	closeGuard(t, g) // waits for the release
	check.Equal(t, state(t, g), "absent", "state")
}

// A record that cannot be read says that there was an attempt: it is never a reason to run.
func TestARecordThatCannotBeReadIsNeverAReasonToRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &unreadable{Store: memstore.New(nil)}
		g := newGuard(t, store, &onceward.Options{Policy: onceward.Policy{FailOpen: true}})
		store.id = payment.ID()
		for range 20 {
			_, err := g.Begin(context.Background(), payment, nil, amount)
			check.ErrorIs(t, err, onceward.ErrUnavailable, "Begin")
		}
		healthy := payment
		healthy.Value = "another order's key"
		a, err := g.Begin(context.Background(), healthy, nil, amount)
		check.NoError(t, err, "Begin of another key: one bad record opened the breaker")
		check.NoError(t, a.Complete(nil), "Complete")
		check.True(t, a.Fence() > 0, "the other key ran unprotected")
	})
}

type unreadable struct {
	driver.Store
	id driver.ID
}

func (u *unreadable) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	if id == u.id {
		return driver.Grant{}, driver.ErrUndecodable
	}
	return u.Store.Acquire(ctx, id, c)
}
