package storetest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/storetest"
)

// The answer to a Complete is lost on its way; the owner repeats it.
func ExampleFaulty() {
	store := storetest.NewFaulty(memstore.New(nil))
	defer store.Close()
	store.Next(storetest.VerbComplete, storetest.ApplyThenFail)

	ctx := context.Background()
	id, owner := driver.ID{1}, driver.Owner{1}
	claim := driver.Claim{
		Owner: owner, OnCrash: driver.Hold, MaxAttempts: 1, MaxExecution: time.Minute,
		Lease: time.Minute, Retain: time.Hour, DoubtRetain: time.Hour,
	}
	if _, err := store.Acquire(ctx, id, claim); err != nil {
		fmt.Println(err)
	}
	out := driver.Outcome{Kind: driver.Answer, Bytes: []byte("paid")}
	fmt.Println(store.Complete(ctx, id, owner, out))
	fmt.Println(store.Complete(ctx, id, owner, out))
	fmt.Println(store.Calls(storetest.VerbComplete), "calls")
	// Output:
	// storetest: the connection broke: outcome unknown
	// <nil>
	// 2 calls
}
