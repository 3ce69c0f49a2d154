package spec

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward/driver"
)

// Mistakes of an engine, on a store that makes none.
const (
	AnswersFirst      flaw = "AnswersFirst"      // and stores after that, if nothing comes between
	ReleasesOnPanic   flaw = "ReleasesOnPanic"   // as if nothing had happened
	BreakerAtComplete flaw = "BreakerAtComplete" // an outcome is not worth a call to a store that fails
	LostAnswers       flaw = "LostAnswers"       // an owner who was overtaken answers with its own result
	UnsureAnswers     flaw = "UnsureAnswers"     // so does one who may have been, and cannot know
	RunsUnasked       flaw = "RunsUnasked"       // although nobody has granted the key
	AnotherOwner      flaw = "AnotherOwner"      // asks again when it got no answer, and not as who it was
	ForgetsRelease    flaw = "ForgetsRelease"    // of a key that it may have got without being told
	ForgetsOutcome    flaw = "ForgetsOutcome"    // that is not stored when the caller has waited long enough
	ReleasesUnstored  flaw = "ReleasesUnstored"  // frees a key whose outcome may not be stored
)

// asker is an engine, good or bad. The operation may panic.
type asker interface {
	ask(ctx context.Context, key string, op func() string) (word Word, answer string, pending bool)
	close()
}

// guard is a small engine with a mistake. Without one it keeps the promise of hold and rerun.
type guard struct {
	store   driver.Store
	onCrash driver.OnCrash
	flaw    flaw

	failures atomic.Int64 // in a row
	owed     sync.WaitGroup
}

const (
	guardLease = 5 * time.Second
	forEver    = 1000 * time.Hour
)

func (g *guard) close() { g.owed.Wait() }

// attempt is one that runs.
type attempt struct {
	*guard

	id    driver.ID
	owner driver.Owner
}

func (g *guard) ask(ctx context.Context, key string, op func() string) (Word, string, bool) {
	a := &attempt{guard: g}
	copy(a.id[:], key)
	_, _ = rand.Read(a.owner[:])
	var grant driver.Grant
	err := a.insist(3, func() (err error) {
		if g.flaw == AnotherOwner {
			_, _ = rand.Read(a.owner[:])
		}
		grant, err = g.store.Acquire(ctx, a.id, driver.Claim{
			Owner: a.owner, OnCrash: g.onCrash, MaxAttempts: 1000, Lease: guardLease, Retain: forEver, DoubtRetain: forEver,
		})
		return err
	})
	switch {
	case err != nil && g.flaw == RunsUnasked:
		return a.run(ctx, op)
	case err != nil && g.flaw == ForgetsRelease:
		return Refused, "", false
	case err != nil:
		a.release(ctx)
		return Refused, "", false
	}
	switch grant.Verdict {
	case driver.Acquired:
		return a.run(ctx, op)
	case driver.Done:
		return Answered, string(grant.Record.Outcome.Bytes), false
	case driver.Running:
		return Busy, "", false
	default:
		return Doubted, "", false
	}
}

// insist repeats what failed, so often or, with a negative number, until it is decided.
func (a *attempt) insist(times int, call func() error) (err error) {
	for ; times != 0; times-- {
		if err = call(); err == nil || errors.Is(err, driver.ErrLost) {
			a.failures.Store(0)
			return err
		}
		a.failures.Add(1)
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

func (a *attempt) release(ctx context.Context) {
	a.owed.Go(func() {
		_ = a.insist(-1, func() error { return a.store.Release(ctx, a.id, a.owner, driver.Note{}) })
	})
}

func (a *attempt) run(ctx context.Context, op func() string) (word Word, answer string, pending bool) {
	defer func() {
		if recover() == nil {
			return
		}
		word, answer, pending = Failed, "", false
		if a.onCrash == driver.Rerun || a.flaw == ReleasesOnPanic {
			a.release(ctx)
		} else {
			_, _, _ = a.end(ctx, "it panicked: "+fmt.Sprint(a.owner))
		}
	}()
	return a.end(ctx, op())
}

func (a *attempt) end(ctx context.Context, answer string) (Word, string, bool) {
	complete := func() error {
		return a.store.Complete(ctx, a.id, a.owner, driver.Outcome{Kind: driver.Answer, Bytes: []byte(answer)})
	}
	if a.flaw == AnswersFirst {
		a.owed.Go(func() { _ = complete() })
		return Answered, answer, false
	}
	if a.flaw == BreakerAtComplete && a.failures.Load() >= 3 {
		a.failures.Store(0) // it closes again some time
		return Answered, answer, true
	}
	times := 3
	if a.onCrash == driver.Rerun && a.flaw != UnsureAnswers { // somebody else may be answering already
		times = -1
	}
	switch err := a.insist(times, complete); {
	case err == nil:
		return Answered, answer, false
	case !errors.Is(err, driver.ErrLost):
		a.bringHome(ctx, complete)
		return Answered, answer, true
	case a.flaw == LostAnswers:
		return Answered, answer, false
	default:
		return a.overtaken(ctx)
	}
}

// bringHome stores an outcome when its caller has been answered.
func (a *attempt) bringHome(ctx context.Context, complete func() error) {
	switch a.flaw {
	case ForgetsOutcome:
	case ReleasesUnstored:
		a.release(ctx)
	default:
		a.owed.Go(func() { _ = a.insist(-1, complete) })
	}
}

// overtaken answers with what is stored.
func (a *attempt) overtaken(ctx context.Context) (Word, string, bool) {
	var r driver.Record
	err := a.insist(3, func() (err error) { r, err = a.store.Get(ctx, a.id); return err })
	if err != nil || r.Phase != driver.PhaseDone {
		return Doubted, "", false
	}
	return Answered, string(r.Outcome.Bytes), false
}
