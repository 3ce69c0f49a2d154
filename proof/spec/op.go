package spec

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceward/onceward/driver"
)

// Verb is what a store is asked to do.
type Verb uint8

// The verbs.
const (
	Acquire Verb = iota
	Extend
	Complete
	Release
	Resolve
	Get
)

func (v Verb) String() string {
	return [...]string{"Acquire", "Extend", "Complete", "Release", "Resolve", "Get"}[v]
}

// Op is one call. Keys, owners, requests and outcomes are small numbers; which token or text stands behind a number does
// not matter to a store. Each verb has its own fields.
type Op struct {
	Key     int
	Verb    Verb
	Owner   int // 1 to 63
	Request int // what the fingerprint is made of
	Outcome int // 0 is none, with which a Resolve makes the key free
	Lease   time.Duration
	Retain  time.Duration // of an outcome, 0 is what the claim said

	OnCrash     driver.OnCrash
	MaxAttempts int
	DoubtRetain time.Duration

	Fence uint64
	Force bool

	Sent, Heard time.Duration // since the start of the history; Heard is never when there was no answer
}

// never is later than everything that happens, and leaves room to add to.
const never = time.Duration(1) << 61

// Said is the kind of an answer.
type Said uint8

// The kinds.
const (
	Granted     Said = iota // it was done; or, of an Acquire, judged
	Lost                    // driver.ErrLost
	Unavailable             // driver.ErrUnavailable
	Unknown                 // any other error
)

// Answer is what came of a call.
type Answer struct {
	Said    Said
	Verdict driver.Verdict // of an Acquire
	Record  Seen           // of an Acquire and a Get
}

// Seen is a record as a client sees it, in small numbers: -1 is a request or an outcome that nobody has sent.
type Seen struct {
	Phase            driver.Phase
	Request, Outcome int
	OnCrash          driver.OnCrash
	Attempt, Max     int
	Fence            uint64
	GivenUp          bool
	Lease, Age, Left time.Duration
}

func (o Op) String() string {
	switch o.Verb {
	case Acquire:
		return fmt.Sprintf("Acquire(owner %d, request %d, %v, attempts %d, lease %v, retain %v, doubt %v)",
			o.Owner, o.Request, o.OnCrash, o.MaxAttempts, o.Lease, o.Retain, o.DoubtRetain)
	case Extend:
		return fmt.Sprintf("Extend(owner %d, lease %v)", o.Owner, o.Lease)
	case Complete:
		return fmt.Sprintf("Complete(owner %d, outcome %d, retain %v)", o.Owner, o.Outcome, o.Retain)
	case Release:
		return fmt.Sprintf("Release(owner %d)", o.Owner)
	case Resolve:
		return fmt.Sprintf("Resolve(fence %d, outcome %d, force %v, retain %v)", o.Fence, o.Outcome, o.Force, o.Retain)
	default:
		return "Get()"
	}
}

func (a Answer) String() string {
	switch {
	case a.Said == Lost:
		return "lost"
	case a.Said == Unavailable:
		return "unavailable"
	case a.Said == Unknown:
		return "?"
	case a.Verdict != 0:
		return a.Verdict.String() + a.Record.String()
	default:
		return "ok" + a.Record.String()
	}
}

func (r Seen) String() string {
	switch r.Phase {
	case driver.PhaseRunning:
		return fmt.Sprintf(" {running, request %d, %v, fence %d, attempt %d/%d, lease %v, given up %v, age %v, left %v}",
			r.Request, r.OnCrash, r.Fence, r.Attempt, r.Max, r.Lease, r.GivenUp, r.Age, r.Left)
	case driver.PhaseDone:
		return fmt.Sprintf(" {done, request %d, outcome %d, fence %d, age %v, left %v}",
			r.Request, r.Outcome, r.Fence, r.Age, r.Left)
	default:
		return ""
	}
}

// call makes a call and notes what was seen of it.
func (c *client) call(ctx context.Context, o *Op) porcupine.Operation {
	if c.Patience > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, c.Patience)
		defer stop()
	}
	sent := c.order.Add(1)
	o.Sent = time.Since(c.start)
	a, err := send(ctx, c.store, c.ids[o.Key], o)
	o.Heard = time.Since(c.start)
	heard := c.order.Add(1)
	switch {
	case err == nil:
		c.learn(o, a)
	case errors.Is(err, driver.ErrUnavailable):
		a.Said = Unavailable
	case errors.Is(err, driver.ErrLost):
		a.Said = Lost
	default:
		a.Said, o.Heard, heard = Unknown, never, math.MaxInt64
	}
	return porcupine.Operation{ClientId: c.number, Input: o, Call: sent, Output: a, Return: heard}
}

// learn tells the others whom the key belongs to.
func (c *client) learn(o *Op, a *Answer) {
	if a.Verdict == driver.Acquired {
		c.known[o.Key].owner.Store(int64(o.Owner))
	}
	if a.Record.Fence > 0 {
		c.known[o.Key].fence.Store(int64(a.Record.Fence))
	}
}

func send(ctx context.Context, store driver.Store, id driver.ID, o *Op) (*Answer, error) {
	owner := ownerOf(o.Owner, id)
	switch o.Verb {
	case Acquire:
		g, err := store.Acquire(ctx, id, driver.Claim{
			Owner: owner, Fingerprint: fingerprintOf(o.Request), OnCrash: o.OnCrash, MaxAttempts: o.MaxAttempts,
			MaxExecution: time.Hour, Lease: o.Lease, Retain: o.Retain, DoubtRetain: o.DoubtRetain,
		})
		return &Answer{Verdict: g.Verdict, Record: seen(&g.Record)}, err
	case Extend:
		return &Answer{}, store.Extend(ctx, id, owner, driver.Extension{Lease: o.Lease})
	case Complete:
		return &Answer{}, store.Complete(ctx, id, owner, outcomeOf(o))
	case Release:
		return &Answer{}, store.Release(ctx, id, owner, driver.Note{})
	case Resolve:
		r := driver.Resolution{Fence: o.Fence, Force: o.Force}
		if o.Outcome != 0 {
			out := outcomeOf(o)
			r.Outcome = &out
		}
		return &Answer{}, store.Resolve(ctx, id, r)
	default:
		r, err := store.Get(ctx, id)
		return &Answer{Record: seen(&r)}, err
	}
}

// ownerOf is a token that is another one for each history.
func ownerOf(owner int, id driver.ID) (token driver.Owner) {
	copy(token[:], id[:])
	token[0] = byte(owner)
	return token
}

func fingerprintOf(request int) driver.Fingerprint {
	return driver.Fingerprint{Algorithm: "spec", Sum: strconv.Itoa(request)}
}

// outcomeOf has the number as its text, and is a tombstone for some numbers.
func outcomeOf(o *Op) driver.Outcome {
	out := driver.Outcome{Kind: driver.Answer, Retain: o.Retain}
	switch {
	case o.Outcome == emptyOutcome:
		return out
	case o.Outcome%8 == 7:
		out.Kind = driver.Tombstone
	}
	out.Bytes = fmt.Append(nil, o.Outcome)
	return out
}

// emptyOutcome has no bytes: it is one like any other.
const emptyOutcome = 64

// seen turns a record into small numbers.
func seen(r *driver.Record) Seen {
	s := Seen{
		Phase: r.Phase, Request: -1, Outcome: -1, OnCrash: r.OnCrash, Attempt: r.Attempt, Max: r.MaxAttempts, Fence: r.Fence,
		GivenUp: r.GivenUp, Lease: r.Lease, Age: r.Age, Left: r.Left,
	}
	number := 0
	if _, err := fmt.Sscan(r.Fingerprint.Sum, &number); err == nil && r.Fingerprint == fingerprintOf(number) {
		s.Request = number
	}
	if r.Phase != driver.PhaseDone {
		return s
	}
	number = emptyOutcome
	if len(r.Outcome.Bytes) > 0 {
		_, _ = fmt.Sscan(string(r.Outcome.Bytes), &number)
	}
	if want := outcomeOf(&Op{Outcome: number}); want.Kind == r.Outcome.Kind && string(want.Bytes) == string(r.Outcome.Bytes) {
		s.Outcome = number
	}
	return s
}
