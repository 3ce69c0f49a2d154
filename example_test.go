package onceward_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
)

type Order struct {
	ID     string
	Amount int
}

type Receipt struct{ Number string }

type bankAccount struct{ charges int }

func (b *bankAccount) Charge(_ context.Context, _ Order) (Receipt, error) {
	b.charges++
	return Receipt{Number: fmt.Sprintf("r-%d", b.charges)}, nil
}

// A retry gets the first result, and the bank is asked once.
func ExampleDo() {
	bank, ctx := &bankAccount{}, context.Background()
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		panic(err)
	}
	defer guard.Close(ctx) // waits for outcomes that are still being stored

	order := Order{ID: "4711", Amount: 12}
	key := onceward.Key{Scope: "customer 7", Operation: "charge", Value: order.ID}
	for range 3 {
		receipt, err := onceward.Do(ctx, guard, key, order, func(ctx context.Context) (Receipt, error) {
			return bank.Charge(ctx, order)
		})
		fmt.Println(receipt.Number, err)
	}
	fmt.Println("charges:", bank.charges)
	// Output:
	// r-1 <nil>
	// r-1 <nil>
	// r-1 <nil>
	// charges: 1
}

// The same key with another request is refused: otherwise the second operation would silently never be done.
func ExampleDo_keyReused() {
	ctx := context.Background()
	guard, _ := onceward.New(memstore.New(nil), nil)
	key := onceward.Key{Scope: "customer 7", Operation: "charge", Value: "4711"}
	for _, amount := range []int{12, 99} {
		_, err := onceward.Do(ctx, guard, key, amount, func(context.Context) (string, error) { return "paid", nil })
		fmt.Println(errors.Is(err, onceward.ErrKeyReused))
	}
	// Output:
	// false
	// true
}

// An operation that did not say how it ended is in doubt. It is not run again until somebody who knows resolves it.
func ExampleGuard_Resolve() {
	ctx := context.Background()
	guard, _ := onceward.New(memstore.New(nil), nil)
	key := onceward.Key{Scope: "customer 7", Operation: "charge", Value: "4711"}
	charge := func(context.Context) (string, error) {
		return "", context.DeadlineExceeded // the bank did not answer: charged, or not?
	}
	_, err := onceward.Do(ctx, guard, key, 12, charge)
	fmt.Println(errors.Is(err, onceward.ErrInDoubt))
	_, err = onceward.Do(ctx, guard, key, 12, charge)
	fmt.Println(errors.Is(err, onceward.ErrInDoubt))

	// The bank says that nothing was charged. Without an outcome the key is free again.
	record, _ := guard.Lookup(ctx, key)
	err = guard.Resolve(ctx, key, driver.Resolution{
		Fence: record.Fence,
		Note:  driver.Note{Actor: "alice", Reason: "the bank's statement of today has no such charge"},
	})
	fmt.Println(err)
	paid, err := onceward.Do(ctx, guard, key, 12, func(context.Context) (string, error) { return "paid", nil })
	fmt.Println(paid, err)
	// Output:
	// true
	// true
	// <nil>
	// paid <nil>
}

// An error is an end, too: it is stored and replayed. Retryable says that nothing happened, so that a retry runs.
func ExampleRetryable() {
	ctx := context.Background()
	guard, _ := onceward.New(memstore.New(nil), nil)
	runs := 0
	call := func(key string, end error) {
		k := onceward.Key{Scope: "customer 7", Operation: "charge", Value: key}
		_, err := onceward.Do(ctx, guard, k, 12, func(context.Context) (string, error) {
			runs++
			return "", end
		})
		fmt.Println(err, runs)
	}
	declined, refused := errors.New("card declined"), errors.New("connection refused")
	call("a", declined)
	call("a", declined)
	call("b", onceward.Retryable(refused))
	call("b", onceward.Retryable(refused))
	// Output:
	// card declined 1
	// card declined 1
	// connection refused 2
	// connection refused 3
}

// Under Rerun the next caller runs again after the lease of a dead owner, with a higher fence.
func ExamplePolicy_rerun() {
	ctx := context.Background()
	guard, _ := onceward.New(memstore.New(nil), &onceward.Options{
		Policy: onceward.Policy{OnCrash: onceward.Rerun, MaxAttempts: 3},
	})
	key := onceward.Key{Scope: "tenant 1", Operation: "rebuild index", Value: "2026-11-22"}
	for range 2 {
		_, _ = onceward.Do(ctx, guard, key, "", func(ctx context.Context) (string, error) {
			attempt, _ := onceward.FromContext(ctx)
			fmt.Println("attempt", attempt.Number(), "fence", attempt.Fence())
			return "", context.DeadlineExceeded
		})
	}
	// Output:
	// attempt 1 fence 1
	// attempt 2 fence 2
}

// A duplicate may wait for the running attempt instead of being refused.
func ExampleGuard_Begin_wait() {
	ctx := context.Background()
	guard, _ := onceward.New(memstore.New(nil), nil)
	key := onceward.Key{Scope: "customer 7", Operation: "charge", Value: "4711"}
	request := onceward.Fingerprint{Algorithm: "mine", Sum: "12 EUR"}

	attempt, _ := guard.Begin(ctx, key, nil, request)
	_, err := guard.Begin(ctx, key, nil, request)
	fmt.Println(errors.Is(err, onceward.ErrInProgress))

	go attempt.Complete([]byte("paid")) //nolint:errcheck // the waiter below shows it
	duplicate, err := guard.Begin(ctx, key, &onceward.Policy{Wait: time.Minute}, request)
	if err != nil {
		panic(err)
	}
	answer, replay := duplicate.Outcome()
	fmt.Println(string(answer), replay)
	// Output:
	// true
	// paid true
}

// A key is made once, where the operation begins, and sent with each retry.
func ExampleNewKey() {
	key := onceward.NewKey("payment-")
	fmt.Println(len(key))
	// Output: 44
}

// A derived key makes equal payloads one operation: only where that is what callers mean.
func ExampleDeriveKey() {
	a, _ := onceward.DeriveKey("auto-", []byte(`{"to": "bob", "amount": 12}`))
	b, _ := onceward.DeriveKey("auto-", []byte(`{"amount":12,"to":"bob"}`))
	_, err := onceward.DeriveKey("auto-", nil)
	fmt.Println(a == b, err != nil)
	// Output: true true
}
