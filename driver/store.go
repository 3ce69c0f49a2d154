package driver

import (
	"context"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrUnavailable means refused: the store is down, full, or holds a record that it cannot read, and nothing was
	// written. Any error but ErrUnavailable and [ErrLost] means that the outcome of the call is unknown.
	ErrUnavailable = errors.New("store unavailable")
	// ErrFull is the ErrUnavailable of a store that has no room for new keys. Replays and running keys still work, so it
	// says nothing about the store's health.
	ErrFull = fmt.Errorf("%w: store full", ErrUnavailable)
	// ErrUndecodable is the ErrUnavailable of one record that cannot be read: an unknown version, a broken digest. Such a
	// key is never treated as absent, and the other keys are not affected.
	ErrUndecodable = fmt.Errorf("%w: record cannot be read", ErrUnavailable)
	// ErrLost means that the record is not the caller's (any more): another owner took over, an operator resolved it,
	// or it is gone. The call changed nothing.
	ErrLost = errors.New("lost: the key is not this owner's any more")
	// ErrTransaction is the ErrLost of a store that keeps its record in the transaction of the effect: that transaction is
	// over and was not seen to commit. Either both are there or neither is, so that asking again is safe.
	ErrTransaction = fmt.Errorf("its transaction is over (%w)", ErrLost)
)

// Store keeps records. Every verb is one whole transition, atomic inside the store, and safe for concurrent use.
//
// A cancelled context makes a verb return promptly; the step then happened wholly or not at all. Byte slices that are
// passed in are not kept, byte slices that are returned belong to the caller. No answer leaves before everything it was
// read from is durable.
type Store interface {
	// Acquire asks for the key. The verdict says what came of it; only [Acquired] grants anything. A losing Acquire
	// changes nothing. Repeated by the running owner it succeeds again with the same fence.
	Acquire(ctx context.Context, id ID, c Claim) (Grant, error)
	// Extend shows a sign of life: the lease starts anew. Lease 0 gives the lease up at once and keeps the key, so that
	// a record which cannot be run again is in doubt immediately. ErrLost unless running and owned by o.
	Extend(ctx context.Context, id ID, o Owner, e Extension) error
	// Complete stores the outcome, also after the lease if nobody took over. Repeated with the same outcome by the same
	// owner it succeeds and changes nothing. ErrLost otherwise.
	Complete(ctx context.Context, id ID, o Owner, out Outcome) error
	// Release makes the key free again. Releasing nothing is no error. A residue of the fence and the owner stays for
	// two leases, at least [MinResidue], so that this owner's Acquire cannot arrive late and win.
	Release(ctx context.Context, id ID, o Owner, n Note) error
	// Resolve ends a doubt. ErrLost unless the record is in doubt and has the fence that r names; see [Resolution].
	Resolve(ctx context.Context, id ID, r Resolution) error
	// Get reads the record. An absent one is a Record whose Phase is [PhaseAbsent], and no error.
	Get(ctx context.Context, id ID) (Record, error)
}

// MinResidue is the least time for which a released key remembers its fence and its last owner.
const MinResidue = time.Minute

// Claim is what an Acquire asks for. Durations are positive; Lease is at most DoubtRetain.
type Claim struct {
	Owner Owner
	// Fingerprint is compared with the stored one and stored when the key is acquired.
	Fingerprint Fingerprint
	// Also holds fingerprints of the same request by other algorithms, so that a changed algorithm still matches.
	Also []Fingerprint
	// OnCrash, MaxAttempts and MaxExecution are fixed when the key is first acquired; a take-over keeps them.
	OnCrash      OnCrash
	MaxAttempts  int
	MaxExecution time.Duration
	// Lease is how long the attempt holds the key without a sign of life.
	Lease time.Duration
	// Retain is how long the outcome is kept, unless the Outcome itself says otherwise.
	Retain time.Duration
	// DoubtRetain is how long the record is kept while it is running, counted from the last Acquire or Extend.
	DoubtRetain time.Duration
	Labels      Labels
	Note        Note
}

// Matches reports whether one of the claim's fingerprints is f.
func (c *Claim) Matches(f Fingerprint) bool {
	if c.Fingerprint == f {
		return true
	}
	for _, also := range c.Also {
		if also == f {
			return true
		}
	}
	return false
}

// Extension is a sign of life. Lease is the new lease from now on; 0 gives the lease up.
type Extension struct {
	Lease time.Duration
	Note  Note
}

// Outcome is what is stored at the end of an attempt.
type Outcome struct {
	Kind Kind
	// Bytes are opaque to the store.
	Bytes []byte
	// Retain is how long the outcome is kept from now on. Defaults to the claim's.
	Retain time.Duration
	Note   Note
}

// Resolution ends a doubt: with an outcome the record is done, without one it is absent and leaves a residue.
type Resolution struct {
	// Fence is the one the operator saw; another fence means that the record has moved on since, and is refused.
	Fence uint64
	// Outcome is what retries get from now on. Nil makes the key free, so that the next caller runs.
	Outcome *Outcome
	// Force allows it also while the record is running or done; the fence then grows, so that an owner who is still
	// alive has lost.
	Force bool
	Note  Note
}

// Grant is the answer to an Acquire: the verdict, and the record as it is after the call.
type Grant struct {
	Verdict Verdict
	Record  Record
}

// Verdict says what came of an Acquire. The zero value is not a verdict.
type Verdict uint8

// The verdicts. Only Acquired grants anything.
const (
	Acquired Verdict = iota + 1 // the caller owns the key now, or still does
	Mismatch                    // the key belongs to another request; said before anything else, also while running
	Done                        // Record.Outcome holds the outcome; also said to the owner that completed it
	Running                     // another owner holds a lease
	InDoubt                     // nobody is left who can say how it ended
	Lost                        // this owner released the key, or was resolved away, before this Acquire arrived
)

func (v Verdict) String() string {
	switch v {
	case Acquired:
		return "acquired"
	case Mismatch:
		return "mismatch"
	case Done:
		return "done"
	case Running:
		return "running"
	case InDoubt:
		return "in-doubt"
	case Lost:
		return "lost"
	default:
		return "invalid"
	}
}
