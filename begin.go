package onceward

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/failpoint"
	"github.com/onceward/onceward/internal/sleep"
)

// Begin asks for a key. It returns an attempt to run, which the caller must end with one of its methods; or an attempt
// that holds the outcome of an earlier one ([Attempt.Outcome]); or a [RefusedError]. An empty part of the key, an empty
// fingerprint or a wrong policy is another error.
//
// Policy may be nil. Input is what makes two requests the same; requests with one key and another input are refused. Also
// holds fingerprints of the same input by other algorithms, for the time in which stored records still carry those.
//
// The attempt outlives ctx, unless the policy says FollowCaller. If ctx has ended by the time the key is granted, the key
// is released and nothing runs.
func (g *Guard) Begin(
	ctx context.Context, key Key, policy *Policy, input Fingerprint, also ...Fingerprint,
) (*Attempt, error) {
	if err := key.validate(); err != nil {
		return nil, err
	}
	if input == (Fingerprint{}) {
		return nil, errors.New("onceward: empty Fingerprint: say what makes two requests the same, as FingerprintJSON does, " +
			"so that a key which is used for another request is noticed")
	}
	p, err := g.Policy(policy)
	if err != nil {
		return nil, err
	}
	a := &Attempt{guard: g, id: key.ID(), policy: p, labels: key.labels(), traceID: key.TraceID}
	a.values = values{ctx, a}
	_, _ = rand.Read(a.owner[:]) // never fails: crypto/rand ends the program instead
	claim := driver.Claim{
		Owner: a.owner, Fingerprint: input, Also: also,
		OnCrash: p.OnCrash, MaxAttempts: p.MaxAttempts, MaxExecution: p.MaxExecution,
		Lease: p.Lease, Retain: p.Retention, DoubtRetain: p.DoubtRetention,
		Labels: a.labels, Note: a.note(""),
	}
	if err := g.begin(ctx, a, &claim); err != nil {
		return a.refuse(ctx, err)
	}
	return a, nil
}

// begin asks until there is a verdict to act on, or the waiting is over.
func (g *Guard) begin(ctx context.Context, a *Attempt, claim *driver.Claim) error {
	if g.backlog.closed() {
		return unavailable(errClosed)
	}
	if ctx.Err() != nil {
		return unavailable(context.Cause(ctx))
	}
	if err := g.checkIdentity(ctx); err != nil {
		return unavailable(err)
	}
	var until time.Time
	for {
		grant, sent, err := a.acquire(ctx, claim)
		if err != nil {
			return err
		}
		if until.IsZero() {
			until = sent.Add(a.policy.Wait)
		}
		if grant.Verdict == driver.Acquired && ctx.Err() == nil {
			a.start(ctx, &grant.Record, sent)
			return nil
		}
		if grant.Verdict == driver.Acquired {
			a.undo()
			return unavailable(context.Cause(ctx))
		}
		if grant.Verdict != driver.Running || a.policy.Wait == 0 {
			return a.notGranted(ctx, &grant)
		}
		again, err := g.rooms.wait(ctx, a.id, until, &grant)
		if err != nil {
			return unavailable(err)
		}
		if !again {
			if !claim.Matches(grant.Record.Fingerprint) { // another request has taken the key meanwhile
				grant.Verdict = driver.Mismatch
			}
			return a.notGranted(ctx, &grant)
		}
	}
}

// notGranted makes a replay or a refusal of a verdict that grants nothing.
func (a *Attempt) notGranted(ctx context.Context, grant *driver.Grant) error {
	out := &grant.Record.Outcome
	switch grant.Verdict {
	case driver.Done:
		if out.Kind != driver.Answer {
			return &RefusedError{Reason: ErrNotStored, Record: grant.Record}
		}
		a.replay(&grant.Record)
		a.trace(ctx, Trace{Step: "replayed", Kind: out.Kind, Size: len(out.Bytes)})
		return nil
	case driver.Mismatch:
		return &RefusedError{Reason: ErrKeyReused, Record: grant.Record}
	case driver.Running:
		return &RefusedError{Reason: ErrInProgress, Record: grant.Record, RetryAfter: time.Second}
	case driver.InDoubt:
		return &RefusedError{Reason: ErrInDoubt, Record: grant.Record}
	default:
		return unavailable(fmt.Errorf("the store answered an Acquire with verdict %q", grant.Verdict))
	}
}

// acquire asks the store once and, when its answer is unknown, again as the same owner: an Acquire whose reply was lost is
// then granted again. It also returns when the answered call was sent.
func (a *Attempt) acquire(
	ctx context.Context, claim *driver.Claim,
) (grant driver.Grant, sent time.Time, err error) {
	g, call, unknown := a.guard, &a.asked, false
	var begun time.Time
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		if err = g.breaker.allow(); err != nil {
			break
		}
		if call.guard == nil {
			call.begin(ctx, g, "acquire")
		} else { // a waiter's second turn, or a repetition
			call = g.call(ctx, "acquire")
		}
		if begun.IsZero() {
			begun = call.sent
		}
		failpoint.At(failpoint.BeforeAcquire)
		grant, err = g.store.Acquire(call, a.id, *claim)
		g.judge(ctx, call.end(err))
		if err == nil {
			return grant, call.sent, nil
		}
		if errors.Is(err, driver.ErrUnavailable) {
			break
		}
		unknown = true
		if time.Since(begun)+pause > g.opts.BeginTimeout || !sleep.For(ctx, jitter(pause)) {
			break
		}
	}
	if unknown {
		a.undo()
	}
	return grant, time.Time{}, unavailable(err)
}

// undo releases what an Acquire may have taken, in the background until it lands. The residue that it leaves refuses the
// Acquire should it arrive later still.
func (a *Attempt) undo() {
	g, note := a.guard, a.note("the caller got no answer to its Begin")
	g.backlog.owe(func(ctx context.Context) {
		err := insist(ctx, func(ctx context.Context) error {
			err := g.release(ctx, a.id, a.owner, note)
			if !decided(err) {
				g.judge(ctx, err) // callers that leave early say nothing of a store that hangs, but this does
			}
			return err
		})
		g.trace(ctx, Trace{Step: "begin-undone", ID: a.id, Err: err})
	})
}

func (g *Guard) release(ctx context.Context, id driver.ID, owner driver.Owner, note driver.Note) error {
	call := g.call(ctx, "release")
	failpoint.At(failpoint.BeforeRelease)
	err := call.end(g.store.Release(call, id, owner, note))
	failpoint.At(failpoint.AfterRelease)
	if decided(err) {
		g.answered(ctx)
	}
	return err
}

// refuse decides about a refusal: it stands, or the policy fails open and the store could not be asked. A record
// that cannot be read is not a reason to run: it says that there was an attempt.
func (a *Attempt) refuse(ctx context.Context, err error) (*Attempt, error) {
	down := errors.Is(err, ErrUnavailable) && !errors.Is(err, driver.ErrUndecodable) &&
		!errors.Is(err, errIdentity) && !errors.Is(err, errClosed)
	if a.policy.FailOpen && down && ctx.Err() == nil {
		a.unprotected = true
		a.enter(ctx, time.Now())
		a.timer = time.AfterFunc(a.policy.MaxExecution, func() { a.cancel(errOverrun) })
		a.trace(ctx, Trace{Step: "unprotected", Err: err})
		return a, nil
	}
	refused := &RefusedError{}
	if errors.As(err, &refused) {
		a.trace(ctx, Trace{Step: "refused", Reason: refused.Reason.Error(), Err: refused.Cause})
	}
	return nil, err
}
