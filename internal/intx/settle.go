package intx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/sleep"
)

// settleFor is how long the caller waits to learn whether its transaction was committed.
const settleFor = 5 * time.Second

var errUnsettled = errors.New("the reply to COMMIT was lost, and the record cannot be read yet: it is not known whether it " +
	"was committed; ask again with the same key, which gives its result or runs it")

// settle finds out what became of a COMMIT without a reply.
func (s *session[T]) settle(ctx context.Context, out *driver.Outcome, cause error) error {
	patience := bound(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleFor)
	defer cancel()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		known, err := s.look(ctx, patience, out)
		if known && err != nil {
			return notCommitted(fmt.Errorf("%w (%w)", err, cause))
		}
		if known {
			return nil
		}
		if !sleep.For(ctx, spread(pause)) {
			return notCommitted(fmt.Errorf("%w (%w)", errUnsettled, cause))
		}
	}
}

// look reads the record once. As long as the key is taken, it may be that our own transaction has not ended yet: what is
// not there may still come. Once the key could be taken again it has ended, and what is not there will not come. The record
// is read after that by the ordinary store, because a snapshot of the transaction's may be older than its lock.
func (s *session[T]) look(ctx context.Context, patience time.Duration, out *driver.Outcome) (known bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ours := &s.grant.Record
	w, err := s.engine.Begin(ctx, ours.ID)
	if err != nil {
		return false, nil // the next look may do better
	}
	taken := w.Taken()
	w.Rollback()
	r, err := s.engine.Get(ctx, ours.ID)
	switch {
	case err != nil:
		return false, nil
	case r.Phase == driver.PhaseDone && r.Fence == ours.Fence && r.Outcome.Kind == out.Kind && bytes.Equal(r.Outcome.Bytes, out.Bytes):
		return true, nil // ours, or one that cannot be told from it
	case taken:
		return false, nil
	default:
		s.again = r.Phase != driver.PhaseAbsent
		return true, ErrNotCommitted
	}
}

// bound is how long one call may take: as long as the one that ctx was made for.
func bound(ctx context.Context) time.Duration {
	if deadline, ok := ctx.Deadline(); ok {
		return max(time.Until(deadline), 100*time.Millisecond)
	}
	return settleFor
}

// spread is d and up to as much again, so that those who were in each other's way do not meet once more.
func spread(d time.Duration) time.Duration {
	return d + rand.N(d) //nolint:gosec // not a secret
}
