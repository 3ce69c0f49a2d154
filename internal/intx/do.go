package intx

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/sleep"
)

// turns is how often an operation is begun whose transaction loses against others.
const turns = 10

// Do is onceward.Do with fn in a transaction that is committed together with the result, so that both happen or neither.
//
// A result commits. An error of fn rolls its effect back and, because then nothing happened, releases the key, whatever
// the policy says; [onceward.Final] rolls back and stores the error, so that retries get it. A panic or Goexit rolls back,
// releases, and goes on. Fn must not end the transaction, nor complete its attempt.
//
// A transaction that loses against others is rolled back and begun again with the same input, a bounded number of times,
// as long as ctx lives. An error that is onceward.ErrUnavailable means that nothing was committed, or that the reply to
// COMMIT was lost and nobody can be asked; asking again with the same key is safe in both cases.
func Do[In, Out, T any](
	ctx context.Context, g *onceward.Guard, t *Transactions[T], key onceward.Key, input In,
	fn func(ctx context.Context, tx T) (Out, error),
) (Out, error) {
	if fn == nil {
		var none Out
		return none, fmt.Errorf("onceward: DoTx of %q needs a function to run", key.Operation)
	}
	pause := 5 * time.Millisecond
	for turn := 1; ; turn++ {
		out, again, err := once(ctx, g, t, key, input, fn)
		if !again || turn == turns || !sleep.For(ctx, spread(pause)) {
			return out, err
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// once reports whether another turn may do better.
func once[In, Out, T any](
	ctx context.Context, g *onceward.Guard, t *Transactions[T], key onceward.Key, input In,
	fn func(ctx context.Context, tx T) (Out, error),
) (Out, bool, error) {
	ctx, leave := t.Open(ctx)
	defer leave()
	s := sessionOf[T](ctx)
	out, err := onceward.Do(ctx, t.With(g), key, input, func(ctx context.Context) (out Out, err error) {
		refused := s.run(func(tx T) (keep bool) {
			out, err = fn(ctx, tx)
			return err == nil
		})
		switch {
		case err != nil && t.engine.Conflict(err):
			s.again = true
			return out, unavailable(err)
		case err != nil:
			return out, &undone{error: err, word: err}
		case refused != nil:
			return out, unavailable(refused)
		default:
			return out, nil
		}
	})
	var own *undone
	if errors.As(err, &own) {
		err = own.error
	}
	return out, s.again, err
}

// undone is an error whose effect is rolled back. Onceward.Do is to find nothing in it, a context's error for instance,
// of which nothing is left to doubt, but the user's word about it: Final or Retryable.
type undone struct {
	error

	word error
}

func (u *undone) As(target any) bool { return errors.As(u.word, target) }

func unavailable(cause error) error {
	refused := &onceward.RefusedError{Reason: onceward.ErrUnavailable, Cause: cause, RetryAfter: time.Second}
	return &undone{error: refused, word: onceward.Retryable(refused)}
}
