package oncehttp

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/onceward/onceward"
)

// Transactions lets a handler run in a database transaction that is committed together with its answer. The stores that
// can do so make one, with a function called Transactional. It is safe for concurrent use.
type Transactions interface {
	// With returns the guard of attempts that run in a transaction.
	With(guard *onceward.Guard) *onceward.Guard
	// Open returns a context in which one attempt may be begun with that guard. Leave rolls back what was not committed; it
	// may be called more than once.
	Open(ctx context.Context) (inside context.Context, leave func())
	// Run calls handle, which works in the transaction of the attempt whose context ctx is. Keep says that the effect is
	// committed when the attempt completes; otherwise it is rolled back, and the outcome stored without it. An error means
	// that there is nothing to commit.
	Run(ctx context.Context, handle func() (keep bool)) error
}

var errInTransaction = errors.New("oncehttp: inside a transaction no connection can be taken over: nothing may be said before " +
	"it is committed")

// serve calls the handler, in a transaction if there are any, and says what its answer means.
func (x *exchange) serve(rec *recorder, req *http.Request) (class Class, err error) {
	handle := func() (keep bool) {
		x.next.ServeHTTP(rec, req)
		rec.finish()
		if x.attempt.Ended() { // by the handler itself, or by a Hijack
			return false
		}
		class = x.classOf(rec)
		return rec.status >= 200 && rec.status < 400
	}
	if x.Transactions == nil {
		handle()
		return class, nil
	}
	if err = x.Transactions.Run(req.Context(), handle); err != nil {
		return class, err
	}
	if x.attempt.Ended() {
		x.leave() // not only when a slow client has its answer
	}
	if !rec.keeping {
		err = problemAnswerTooLarge
	}
	return class, err
}

// undo answers for a handler whose transaction cannot be committed: nothing happened, and the key is free.
func (x *exchange) undo(rec *recorder, err error) {
	if !x.attempt.Ended() {
		_ = x.attempt.Release("the transaction cannot be committed") // nothing is left that could be lost
	}
	rec.withdraw()
	var p *Problem
	if !errors.As(err, &p) {
		x.guard.Trace(x.r.Context(), onceward.Trace{
			Step: "refused", ID: x.attempt.ID(), Reason: onceward.ErrUnavailable.Error(), Err: err,
		})
		err = &onceward.RefusedError{Reason: onceward.ErrUnavailable, Cause: err, RetryAfter: time.Second}
	}
	x.refuse(err)
}
