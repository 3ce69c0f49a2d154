package onceward_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

type receipt struct {
	ID     string
	Amount int
}

// counted is a function for Do that counts its runs.
type counted[T any] struct {
	runs  int
	value T
	err   error
}

func (c *counted[T]) run(context.Context) (T, error) {
	c.runs++
	return c.value, c.err
}

func do[T any](g *onceward.Guard, c *counted[T]) (T, error) {
	return onceward.Do(context.Background(), g, payment, "12 EUR", c.run)
}

func TestDoGivesEveryoneTheSameResult(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	charge := &counted[receipt]{value: receipt{"r-1", 12}}
	for range 3 {
		got, err := do(g, charge)
		check.NoError(t, err, "Do")
		check.Equal(t, got, receipt{"r-1", 12}, "result")
	}
	check.Equal(t, charge.runs, 1, "runs")
	_, err := onceward.Do(context.Background(), g, payment, "99 EUR", charge.run)
	check.ErrorIs(t, err, onceward.ErrKeyReused, "Do with another input")
}

// A result that is "nothing" in its language is a result.
func TestFalsyResultsReplay(t *testing.T) {
	falsy(t, 0)
	falsy(t, "")
	falsy(t, false)
	falsy(t, struct{}{})
	falsy(t, []string{})
	falsy[[]string](t, nil)
	falsy[*receipt](t, nil)
	falsy[any](t, nil)
	falsy(t, map[string]int{})
}

func falsy[T any](t *testing.T, value T) {
	t.Helper()
	g := newGuard(t, memstore.New(nil), nil)
	c := &counted[T]{value: value}
	for range 2 {
		got, err := do(g, c)
		check.NoError(t, err, "Do of %#v", value)
		check.Equal(t, got, value, "result")
	}
	check.Equal(t, c.runs, 1, "runs of %#v", value)
}

func TestTheFirstCallerGetsWhatAReplayDecodes(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	type secretive struct {
		Shown  string
		hidden string
	}
	c := &counted[secretive]{value: secretive{"shown", "hidden"}}
	for range 2 {
		got, err := do(g, c)
		check.NoError(t, err, "Do")
		check.Equal(t, got, secretive{Shown: "shown"}, "result")
	}
}

func TestDoErrors(t *testing.T) {
	declined := errors.New("card declined")
	for _, c := range []struct {
		name   string
		policy onceward.Policy
		err    error
		runs   int  // of two calls
		stored bool // callers get a StoredError
	}{
		{"a plain error is an end under hold", onceward.Policy{}, declined, 1, true},
		{"a plain error is released under rerun", onceward.Policy{OnCrash: onceward.Rerun}, declined, 2, false},
		{"final is stored under rerun", onceward.Policy{OnCrash: onceward.Rerun}, onceward.Final(declined), 1, true},
		{"retryable is released under hold", onceward.Policy{}, onceward.Retryable(declined), 2, false},
		{"a wrapped word counts", onceward.Policy{}, fmt.Errorf("charging: %w", onceward.Retryable(declined)), 2, false},
		{"retryable beats a context error", onceward.Policy{}, onceward.Retryable(context.Canceled), 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGuard(t, memstore.New(nil), &onceward.Options{Policy: c.policy})
			charge := &counted[receipt]{err: c.err}
			for range 2 {
				_, err := do(g, charge)
				var kept *onceward.StoredError
				check.Equal(t, errors.As(err, &kept), c.stored, "is a StoredError: %v", err)
				check.Equal(t, err.Error(), c.err.Error(), "text")
				check.Equal(t, errors.Is(err, declined), !c.stored && errors.Is(c.err, declined), "is the error itself")
			}
			check.Equal(t, charge.runs, c.runs, "runs")
		})
	}
}

func TestAContextErrorIsInDoubt(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	charge := &counted[receipt]{err: fmt.Errorf("asking the bank: %w", context.DeadlineExceeded)}
	for range 2 {
		_, err := do(g, charge)
		check.ErrorIs(t, err, onceward.ErrInDoubt, "Do")
	}
	check.Equal(t, charge.runs, 1, "runs")
}

func TestPanicsAreStoredOrReleasedAndGoOn(t *testing.T) {
	for _, c := range []struct {
		policy onceward.Policy
		runs   int
	}{
		{onceward.Policy{}, 1},
		{onceward.Policy{OnCrash: onceward.Rerun}, 3},
	} {
		g := newGuard(t, memstore.New(nil), &onceward.Options{Policy: c.policy})
		runs := 0
		call := func(leave func()) (panicked any, err error) {
			defer func() { panicked = recover() }()
			_, err = onceward.Do(context.Background(), g, payment, "", func(context.Context) (int, error) {
				runs++
				leave()
				return 0, nil
			})
			return nil, err
		}
		panicked, _ := call(func() { panic("out of cheese") })
		check.Equal(t, panicked, any("out of cheese"), "panic of the first call under %v", c.policy.OnCrash)
		left := make(chan struct{})
		go func() { // Goexit ends its goroutine, so it needs one of its own
			defer close(left)
			_, _ = call(runtime.Goexit)
		}()
		<-left
		_, err := call(func() {})
		var kept *onceward.StoredError
		check.Equal(t, errors.As(err, &kept), c.runs == 1, "is stored: %v", err)
		check.Equal(t, runs, c.runs, "runs under %v", c.policy.OnCrash)
	}
}

func TestAResultThatCannotBeEncodedIsNotRunAgain(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	c := &counted[chan int]{value: make(chan int)}
	got, err := do(g, c)
	check.ErrorIs(t, err, onceward.ErrNotStored, "first call")
	check.True(t, got == c.value, "the first caller lost its result")
	_, err = do(g, c)
	check.ErrorIs(t, err, onceward.ErrNotStored, "retry")
	check.Equal(t, c.runs, 1, "runs")
}

func TestAResultOfAnotherTypeIsNotRunAgain(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	_, err := do(g, &counted[receipt]{})
	check.NoError(t, err, "Do")
	c := &counted[map[string]any]{}
	_, err = do(g, c)
	check.True(t, err != nil, "a receipt was decoded as a map")
	check.Equal(t, c.runs, 0, "runs")
}

func TestAForeignOutcomeIsNotRunAgain(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	input, err := onceward.FingerprintJSON([]byte(`"12 EUR"`))
	check.NoError(t, err, "FingerprintJSON")
	for _, junk := range []string{"", "junk", `{"value":1}`, `{"type":"int","value":"x"}`, `{"kind":"later version"}`} {
		key := payment
		key.Value = junk + "-" + onceward.NewKey("")
		a, err := g.Begin(context.Background(), key, nil, input)
		check.NoError(t, err, "Begin")
		check.NoError(t, a.Complete([]byte(junk)), "Complete")
		c := &counted[int]{}
		_, err = onceward.Do(context.Background(), g, key, "12 EUR", c.run)
		check.True(t, err != nil, "%q was taken for a result", junk)
		check.Equal(t, c.runs, 0, "runs for %q", junk)
	}
}

type opaque struct{ cents int }

// JSON would make {} of each of them: 12 and 99 would be one request, and a result would come back empty.
func TestTypesOfWhichJSONKeepsNothingAreRefused(t *testing.T) {
	opaqueInput(t, opaque{12})
	opaqueInput(t, &opaque{12})
	opaqueInput(t, []map[string]opaque{{"a": {12}}})
	opaqueInput(t, struct {
		To     string
		Amount opaque
	}{"bob", opaque{12}})
	opaqueInput(t, strings.NewReader("12"))

	g := newGuard(t, memstore.New(nil), nil)
	c := &counted[struct{ Amount opaque }]{}
	_, err := do(g, c)
	check.True(t, err != nil && strings.Contains(err.Error(), "onceward_test.opaque has no exported fields"), "Do said %v", err)
	check.Equal(t, c.runs, 0, "runs")

	_, err = do(g, &counted[struct {
		At      time.Time
		Next    *receipt
		Skipped opaque `json:"-"`
		Nothing struct{}
	}]{})
	check.NoError(t, err, "Do of a type that JSON keeps")
}

func opaqueInput[In any](t *testing.T, input In) {
	t.Helper()
	g := newGuard(t, memstore.New(nil), nil)
	c := &counted[int]{}
	_, err := onceward.Do(context.Background(), g, payment, input, c.run)
	check.True(t, err != nil && strings.Contains(err.Error(), "no exported fields"), "Do of a %T said %v", input, err)
	check.Equal(t, c.runs, 0, "runs")
	check.Equal(t, state(t, g), "absent", "state")
}

func TestWhatIsMissingIsAnErrorBeforeAnythingIsAsked(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	_, err := onceward.Do[string, int](context.Background(), g, payment, "", nil)
	check.True(t, err != nil, "Do without a function")
	_, err = onceward.Do(context.Background(), nil, payment, "", (&counted[int]{}).run)
	check.True(t, err != nil, "Do without a guard")
	_, err = g.Begin(context.Background(), payment, nil, onceward.Fingerprint{})
	check.True(t, err != nil, "Begin without a fingerprint")
	check.Equal(t, state(t, g), "absent", "state")
}

func TestADoubtIsResolvedWithAResult(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	charge := &counted[receipt]{err: context.DeadlineExceeded}
	_, err := do(g, charge)
	check.ErrorIs(t, err, onceward.ErrInDoubt, "Do")
	r := driver.Resolution{Fence: 1, Note: driver.Note{Actor: "alice", Reason: "it is in the bank's statement"}}
	check.NoError(t, g.ResolveResult(context.Background(), payment, receipt{"r-1", 12}, r), "ResolveResult")
	got, err := do(g, charge)
	check.NoError(t, err, "Do after it")
	check.Equal(t, got, receipt{"r-1", 12}, "result")
	check.Equal(t, charge.runs, 1, "runs")
	err = g.ResolveResult(context.Background(), payment, receipt{}, r)
	check.ErrorIs(t, err, driver.ErrLost, "a second time")
	check.True(t, strings.Contains(err.Error(), "look it up again"), "it does not say what to do: %v", err)
}

func TestAnInputThatCannotBeEncodedRunsNothing(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	c := &counted[int]{}
	_, err := onceward.Do(context.Background(), g, payment, make(chan int), c.run)
	check.True(t, err != nil, "Do accepted it")
	check.Equal(t, c.runs, 0, "runs")
	check.Equal(t, state(t, g), "absent", "state")
}

// A function may end its attempt itself; Do then has nothing to add.
func TestAFunctionMayEndItsAttempt(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	got, err := onceward.Do(context.Background(), g, payment, "", func(ctx context.Context) (string, error) {
		a, _ := onceward.FromContext(ctx)
		check.NoError(t, a.Release("out of stock"), "Release")
		return "nothing happened", context.Canceled
	})
	check.Equal(t, got, "nothing happened", "result")
	check.ErrorIs(t, err, context.Canceled, "Do")
	check.True(t, !errors.Is(err, onceward.ErrInDoubt), "the key is free, and the caller is told %v", err)
	check.Equal(t, state(t, g), "absent", "state")
}

func TestTheContextEndsWithDo(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	var inside context.Context
	_, err := onceward.Do(context.Background(), g, payment, "", func(ctx context.Context) (int, error) {
		inside = ctx //nolint:fatcontext // to look at it after its end
		return 0, nil
	})
	check.NoError(t, err, "Do")
	check.ErrorIs(t, inside.Err(), context.Canceled, "context after Do")
}
