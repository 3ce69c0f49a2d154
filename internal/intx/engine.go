// Package intx keeps an outcome in the transaction of its effect, so that both are committed or neither is. It is what
// DoTx and Transactional of the SQL stores have in common: a store brings an [Engine], and everything that does not
// depend on the database is here.
//
// Nothing is written when a key is taken: a try-lock of the database, which lives as long as the transaction, keeps
// others away, and the record is written once, done, with the COMMIT. An attempt that dies leaves nothing behind.
package intx

import (
	"context"
	"errors"

	"github.com/onceward/onceward/driver"
)

// ErrNotCommitted is what an error of [Work.Commit] wraps when the transaction was surely rolled back.
var ErrNotCommitted = errors.New("the transaction was rolled back")

// Engine is a store that can keep an outcome in the transaction of its effect. T is the transaction as users know it. It
// is safe for concurrent use.
type Engine[T any] interface {
	// Store is the ordinary store, outside of any transaction.
	driver.Store

	// Begin opens a transaction, takes the key for it without waiting, and reads the key's record as it is committed, in
	// as few round trips as it can. Nothing is written. The record must be read by a statement that begins after the key
	// was taken: what an earlier holder committed has to be seen.
	//
	// Ctx bounds Begin only, and the transaction outlives it. An error leaves nothing open; whether it is
	// driver.ErrUnavailable only decides whether the guard asks again, because nothing can have been written.
	Begin(ctx context.Context, id driver.ID) (Work[T], error)

	// Conflict reports whether err means that the transaction lost against others and the whole may be tried again: a
	// serialization failure, a deadlock. Err is what a user's statement, or Commit, returned, possibly wrapped.
	Conflict(err error) bool
}

// Work is a transaction that holds a key, or found it taken. Its methods are called one at a time, except for Kill; not
// while the user is working with the transaction, again except for Kill. Every Work is ended by Commit, Rollback or
// Kill and then, always, Rollback.
type Work[T any] interface {
	// Tx is the transaction for its user.
	Tx() T
	// Taken reports that another transaction holds the key. What was seen all the same counts only if it is done.
	Taken() bool
	// Seen is the record as it was committed when the key was taken, with its outcome. What has expired may come as it
	// is, with Left at zero or less. A residue is a Record with PhaseAbsent, its fence and what is left of it; where there
	// is nothing, all but the ID is zero.
	Seen() driver.Record
	// SeenOwner is the owner of what was seen, for a residue the last one; zero where there is nothing.
	SeenOwner() driver.Owner
	// Commit writes the record as done and commits, pipelined where the engine can. The write is a compare-and-set
	// against what was seen. Whatever the error is, the transaction is over afterwards, or will be soon without Commit
	// taking effect any more unless it already did.
	//
	// An error that is [ErrNotCommitted] means surely rolled back, also when COMMIT answered ROLLBACK. If what was seen is
	// not there any more, the error is driver.ErrLost besides. Any other error means that nobody knows.
	Commit(ctx context.Context, done Done) error
	// Rollback ends the transaction and gives its connection back, or closes it when it does not answer soon. It is
	// called at the end in any case: after Commit, Kill or another Rollback it does nothing more.
	Rollback()
	// Kill ends the transaction at once, from another goroutine than its user's and possibly in the middle of a statement,
	// for instance by closing the connection under it. It must not wait. It is for a user who does not come back.
	Kill()
}

// Done is what Commit writes. Outcome.Retain is how long it is kept; where it is zero, Claim.Retain is.
type Done struct {
	ID      driver.ID
	Claim   driver.Claim
	Fence   uint64
	Attempt int
	Outcome driver.Outcome
}
