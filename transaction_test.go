package onceward_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// rolledBack is a store whose transaction turns out not to be committed.
type rolledBack struct{ driver.Store }

var errSerialization = errors.New("could not serialize access")

func (rolledBack) Complete(context.Context, driver.ID, driver.Owner, driver.Outcome) error {
	return fmt.Errorf("%w: %w", driver.ErrTransaction, errSerialization)
}

// Nothing is left of the effect, so the result must not be given, nobody is in doubt, and the guard owes nothing.
func TestATransactionThatWasNotCommitted(t *testing.T) {
	var ending onceward.Trace
	g := newGuard(t, memstore.New(nil), &onceward.Options{Trace: func(_ context.Context, t onceward.Trace) {
		if t.Step != "store-call" {
			ending = t
		}
	}})
	inTx := g.With(rolledBack{memstore.New(nil)})
	_, err := onceward.Do(context.Background(), inTx, payment, "", func(context.Context) (string, error) { return "paid", nil })
	check.ErrorIs(t, err, onceward.ErrUnavailable, "Do")
	check.ErrorIs(t, err, onceward.ErrLeaseLost, "Do")
	check.ErrorIs(t, err, errSerialization, "Do")
	var refused *onceward.RefusedError
	check.True(t, errors.As(err, &refused) && refused.RetryAfter > 0, "Do: a retry would help: %v", err)
	check.Equal(t, ending.Step, "released", "how it ended")

	other := payment
	other.Value = "2"
	_, err = onceward.Do(context.Background(), inTx, other, "", func(context.Context) (any, error) { return func() {}, nil })
	check.ErrorIs(t, err, onceward.ErrUnavailable, "Do of a result that cannot be encoded")
	left, cancel := context.WithCancel(context.Background())
	cancel()
	check.NoError(t, g.Close(left), "Close: nothing may be owed")
}
