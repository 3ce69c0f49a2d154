package onceward

import (
	"errors"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
)

// The reasons for which a caller is refused. Each is the Reason of a [RefusedError]; test for them with errors.Is.
var (
	// ErrInProgress means that another attempt of the same request is running. Ask again later.
	ErrInProgress = errors.New("in progress: the same request is still running")
	// ErrKeyReused means that the key belongs to another request.
	ErrKeyReused = errors.New("key reused: the key belongs to another request")
	// ErrInDoubt means that an attempt began and nobody is left who can say how it ended. It is not run again until it is
	// resolved, or the doubt retention is over.
	ErrInDoubt = errors.New("in doubt: nobody is left who can say how the operation ended")
	// ErrNotStored means that the operation ended but its answer was not kept, so that it can be neither replayed nor run.
	ErrNotStored = errors.New("not stored: the operation ended, its answer was not kept")
	// ErrUnavailable means that the store could not be asked: nothing was run. From [Attempt.Complete] it means that the
	// outcome is not stored yet, and that the guard keeps trying. Where it is ErrLeaseLost besides, a transaction was not
	// seen to commit. In all cases it is safe to ask again with the same key.
	ErrUnavailable = driver.ErrUnavailable
	// ErrLeaseLost means that this attempt no longer holds the key. It is the cause with which its context is cancelled,
	// and what its Complete returns.
	ErrLeaseLost = errors.New("lease lost: the key is no longer this attempt's")
)

// RefusedError says why a caller may not run. It is its Reason and its Cause for errors.Is.
type RefusedError struct {
	// Reason is one of the Err… variables of this package.
	Reason error
	// Cause says more, for operators; never show it to a client. It may be nil.
	Cause error
	// Record is what is known of the key, zero for ErrUnavailable. For ErrNotStored its outcome is the tombstone.
	Record driver.Record
	// RetryAfter is when to ask again. Zero means that asking again does not help.
	RetryAfter time.Duration
}

func (e *RefusedError) Error() string {
	if e.Cause == nil || errors.Is(e.Cause, e.Reason) && e.Cause.Error() == e.Reason.Error() {
		return "onceward: " + e.Reason.Error()
	}
	return fmt.Sprintf("onceward: %v (%v)", e.Reason, e.Cause)
}

// Unwrap makes the error both its reason and its cause.
func (e *RefusedError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// StoredError is the error with which an operation ended, as it is stored and replayed. The first caller of [Do] gets it
// too, so that nobody can tell a first answer from a replay by its type. Only the text survives storing; what callers
// must branch on belongs into the result.
type StoredError struct {
	Message  string
	Replayed bool
}

func (e *StoredError) Error() string { return e.Message }

// Final marks err as the end of the operation: [Do] stores it and replays it, also under [Rerun].
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &ending{error: err, final: true}
}

// Retryable marks err as proof that nothing happened: [Do] releases the key and the next caller runs, also under [Hold].
func Retryable(err error) error {
	if err == nil {
		return nil
	}
	return &ending{error: err}
}

// ending is an error with the handler's word about what it means.
type ending struct {
	error
	final bool
}

func (e *ending) Unwrap() error { return e.error }
