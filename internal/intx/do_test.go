package intx

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

var order = onceward.Key{Scope: "shop", Operation: "charge", Value: "order-1"}

// kit is a guard, its database, and what happened.
type kit struct {
	*testing.T
	d     *database
	g     *onceward.Guard
	tx    *Transactions[*tx]
	steps map[string]int
}

// with runs a test in a bubble, at the end of which nothing may be left: no transaction, no goroutine, nothing owed.
func with(t *testing.T, p onceward.Policy, test func(k *kit)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k := &kit{T: t, d: newDatabase(t), steps: map[string]int{}}
		k.tx = New(k.d)
		var err error
		k.g, err = onceward.New(k.d, &onceward.Options{Policy: p, Trace: func(_ context.Context, t onceward.Trace) {
			k.d.mu.Lock()
			defer k.d.mu.Unlock()
			k.steps[t.Step]++
		}})
		check.NoError(t, err, "guard")
		test(k)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		check.NoError(t, k.g.Close(ctx), "Close: nothing may be owed")
		check.Equal(t, k.d.open, 0, "transactions that were left open")
		time.Sleep(2 * time.Hour) // what the server is slow to notice
	})
}

// charge makes its effect and returns a receipt, or what end returns.
func charge(end func() error) func(context.Context, *tx) (string, error) {
	return func(_ context.Context, x *tx) (string, error) {
		if err := x.Effect("charge"); err != nil {
			return "", err
		}
		if end != nil {
			return "receipt", end()
		}
		return "receipt", nil
	}
}

func (k *kit) do(fn func(context.Context, *tx) (string, error)) (string, error) {
	return Do(context.Background(), k.g, k.tx, order, 100, fn)
}

// check says what is in the database.
func (k *kit) check(effects int, state string) {
	k.Helper()
	check.Equal(k, k.d.ledger("charge"), effects, "effects")
	r, err := k.d.Get(context.Background(), order.ID())
	check.NoError(k, err, "Get")
	check.Equal(k, r.State(), state, "state of the record")
}

// never is a function that must not run.
func (k *kit) never(context.Context, *tx) (string, error) {
	k.Error("it ran again")
	return "", nil
}

func TestAResultIsCommittedWithItsEffect(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		got, err := k.do(charge(nil))
		check.NoError(k, err, "Do")
		check.Equal(k, got, "receipt", "result")
		k.check(1, "done")
		got, err = k.do(k.never)
		check.NoError(k, err, "Do again")
		check.Equal(k, got, "receipt", "replayed result")
		_, err = Do(context.Background(), k.g, k.tx, order, 200, k.never)
		check.ErrorIs(k, err, onceward.ErrKeyReused, "Do with another input")
		check.Equal(k, k.steps["completed"], 1, "endings of one attempt")
	})
}

func TestAnErrorLeavesNothing(t *testing.T) {
	for name, failure := range map[string]error{
		"plain": io.ErrUnexpectedEOF, "cancelled": context.Canceled, "late": context.DeadlineExceeded,
		"retryable": onceward.Retryable(io.ErrUnexpectedEOF),
	} {
		for _, p := range []onceward.Policy{{}, {OnCrash: onceward.Rerun}} {
			t.Run(name+" "+p.OnCrash.String(), func(t *testing.T) {
				with(t, p, func(k *kit) {
					_, err := k.do(charge(func() error { return failure }))
					check.True(k, err == failure, "Do: %v instead of the function's error", err) //nolint:errorlint // the very same
					k.check(0, "absent")
					check.Equal(k, k.steps["released"], 1, "releases")
					_, err = k.do(charge(nil))
					check.NoError(k, err, "Do again")
					k.check(1, "done")
				})
			})
		}
	}
}

func TestAFinalErrorIsStoredWithoutItsEffect(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		for turn := range 2 {
			fn := k.never
			if turn == 0 {
				fn = charge(func() error { return onceward.Final(errors.New("card refused")) })
			}
			_, err := k.do(fn)
			var stored *onceward.StoredError
			check.True(k, errors.As(err, &stored), "Do: %v", err)
			check.Equal(k, *stored, onceward.StoredError{Message: "card refused", Replayed: turn > 0}, "error")
			k.check(0, "done")
		}
	})
}

func TestAFinalErrorYieldsToWhoeverTookTheKeyMeanwhile(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		first := true
		_, err := k.do(func(context.Context, *tx) (string, error) {
			if first {
				first = false
				k.other("theirs") // takes the key as an ordinary caller
			}
			return "", onceward.Final(errors.New("card refused"))
		})
		check.NoError(k, err, "Do: the other's result counts")
		k.check(0, "done")
	})
}

// other runs the order as an ordinary operation, outside of a transaction.
func (k *kit) other(result string) {
	k.Helper()
	_, err := onceward.Do(context.Background(), k.g, order, 100, func(context.Context) (string, error) { return result, nil })
	check.NoError(k, err, "Do of another")
}

func TestAPanicLeavesNothingAndGoesOn(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		for name, end := range map[string]func() error{
			"panic": func() error { panic("boom") }, "Goexit": func() error { runtime.Goexit(); return nil },
		} {
			gone := make(chan any)
			go func() {
				defer func() { gone <- recover() }()
				_, err := k.do(charge(end))
				k.Errorf("%s: Do returned: %v", name, err)
			}()
			check.Equal(k, (<-gone) == "boom", name == "panic", "%s goes on", name)
			k.check(0, "absent")
		}
		_, err := k.do(charge(nil))
		check.NoError(k, err, "Do afterwards")
		k.check(1, "done")
	})
}

func TestWhatTheFunctionMustNotDo(t *testing.T) {
	end := func(end func(*onceward.Attempt) error) func(context.Context, *tx) (string, error) {
		return func(ctx context.Context, x *tx) (string, error) {
			a, _ := onceward.FromContext(ctx)
			err := end(a)
			if err == nil {
				err = x.Effect("charge") // the transaction is still its user's
			}
			if errors.Is(err, onceward.ErrLeaseLost) {
				return "swallowed", nil
			}
			return "", err
		}
	}
	for name, c := range map[string]struct {
		end  func(*onceward.Attempt) error
		want error
	}{
		"complete":  {func(a *onceward.Attempt) error { return a.Complete([]byte("mine")) }, errInside},
		"tombstone": {func(a *onceward.Attempt) error { return a.Tombstone([]byte("mine")) }, errInside},
		"release":   {func(a *onceward.Attempt) error { return a.Release("nothing happened") }, nil},
		"doubt":     {func(a *onceward.Attempt) error { return a.Doubt("who knows") }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, onceward.Policy{}, func(k *kit) {
				got, err := k.do(end(c.end))
				check.True(k, errors.Is(err, c.want), "Do: %q, %v", got, err)
				k.check(0, "absent")
			})
		})
	}
}

func TestALongRunNeedsNoStatement(t *testing.T) {
	with(t, onceward.Policy{Lease: time.Second, MaxExecution: time.Minute}, func(k *kit) {
		_, err := k.do(charge(func() error { time.Sleep(30 * time.Second); return nil }))
		check.NoError(k, err, "Do")
		k.check(1, "done")
		check.Equal(k, k.d.begun, 1, "transactions")
		// Nobody can take over while the transaction lives, so a lease that seems over, as after the process was frozen, must not
		// end it.
		check.Equal(k, k.steps["extended"], 1, "signs of life: a third of how long it may live")
	})
}

func TestWhatIsDoneIsReplayedWhileOthersReadIt(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		_, err := k.do(charge(nil))
		check.NoError(k, err, "Do")
		reader, err := k.d.Begin(context.Background(), order.ID())
		check.NoError(k, err, "Begin of another one")
		defer reader.Rollback()
		got, err := k.do(k.never)
		check.NoError(k, err, "Do while somebody holds the key")
		check.Equal(k, got, "receipt", "result")
		k.check(1, "done")
	})
}

func TestAFunctionThatHangsLosesItsTransaction(t *testing.T) {
	with(t, onceward.Policy{Lease: time.Second, MaxExecution: time.Minute}, func(k *kit) {
		begun := time.Now()
		go func() {
			time.Sleep(61*time.Second + time.Millisecond)
			_, err := k.do(charge(nil))
			check.NoError(k, err, "Do of the next caller")
		}()
		_, err := k.do(charge(func() error { time.Sleep(time.Hour); return nil }))
		check.ErrorIs(k, err, errOverrun, "Do of what hung for %v", time.Since(begun))
		check.ErrorIs(k, err, onceward.ErrUnavailable, "Do of what hung")
		k.check(1, "done")
	})
}

// Without a transaction nothing may run, whatever the policy says.
func TestFailOpenIsNotHeard(t *testing.T) {
	with(t, onceward.Policy{FailOpen: true}, func(k *kit) {
		k.d.begin = func() error { return driver.ErrUnavailable }
		_, err := k.do(k.never)
		check.ErrorIs(k, err, onceward.ErrUnavailable, "Do")
	})
}

func TestABeginWithoutAnAnswerIsRepeated(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		failures := 0
		k.d.begin = func() error {
			if failures++; failures < 3 {
				return errConnection
			}
			return nil
		}
		_, err := k.do(charge(nil))
		check.NoError(k, err, "Do")
		k.d.begin = func() error { return errConnection }
		_, err = k.do(k.never)
		check.ErrorIs(k, err, onceward.ErrUnavailable, "Do while nothing answers")
		k.d.begin = nil
	})
}

func TestACallerThatLeftRunsNothing(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		ctx, leave := context.WithCancel(context.Background())
		k.d.begin = func() error { leave(); return nil }
		_, err := Do(ctx, k.g, k.tx, order, 100, k.never)
		check.ErrorIs(k, err, context.Canceled, "Do")
		k.d.begin = nil
		k.check(0, "absent")
	})
}

func TestTheTransactionIsFoundWhileItsFunctionRuns(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		left := make(chan context.Context, 1)
		_, err := k.do(func(ctx context.Context, mine *tx) (string, error) {
			left <- ctx
			found, ok := Tx[*tx](ctx)
			check.True(k, ok && found == mine, "transaction of the context: %v, %v", found, ok)
			return "", nil
		})
		check.NoError(k, err, "Do")
		_, ok := Tx[*tx](<-left)
		check.True(k, !ok, "a transaction is found after its end")
		_, ok = Tx[*tx](context.Background())
		check.True(k, !ok, "a transaction is found where none is")
	})
}

func TestDoWithoutAFunctionOrAGuard(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		_, err := k.do(nil)
		check.True(k, err != nil, "Do without a function")
		_, err = Do(context.Background(), nil, k.tx, order, 100, charge(nil))
		check.True(k, err != nil, "Do without a guard")
	})
}
