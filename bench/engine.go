package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
)

// keys are made before anything is timed.
var keys = sync.OnceValue(func() []onceward.Key {
	keys := make([]onceward.Key, batch)
	for n := range keys {
		keys[n] = onceward.Key{Scope: "customer 7", Operation: "charge", Value: fmt.Sprintf("00000000-0000-4000-8000-%012d", n)}
	}
	return keys
})

var theInput = onceward.Fingerprint{Algorithm: "http-bytes/1", Sum: strings.Repeat("s", 32)}

// engineTable is what the engine adds to a store: identity, heartbeat, contexts, the breaker.
func engineTable() *table {
	const fresh, replay = "memstore, fresh", "memstore, replay"
	return &table{
		name:  "engine",
		title: "the engine on memstore, on 1 core; fresh is one Begin and one Complete",
		rows: []row{
			{name: fresh, sample: inProcess(1, true, storeWorld(false))},
			{name: "Guard, fresh", against: fresh, sample: inProcess(1, true, guardWorld(false))},
			{name: replay, sample: inProcess(1, false, storeWorld(true))},
			{name: "Guard, replay", against: replay, sample: inProcess(1, false, guardWorld(true))},
		},
	}
}

func guardWorld(replay bool) func() (world, error) {
	return func() (world, error) {
		guard, err := onceward.New(memstore.New(nil), nil)
		if err != nil {
			return world{}, err
		}
		keys, ctx := keys(), context.Background()
		pair := func(n int) error {
			attempt, err := guard.Begin(ctx, keys[n], nil, theInput)
			if err != nil {
				return err
			}
			return attempt.Complete(theAnswer) // an error for a replay
		}
		again := func(n int) error {
			attempt, err := guard.Begin(ctx, keys[n%stored], nil, theInput)
			if err != nil {
				return err
			}
			if answer, ok := attempt.Outcome(); !ok || len(answer) != len(theAnswer) {
				return fmt.Errorf("%s is not replayed", keys[n%stored].Value)
			}
			return nil
		}
		w := world{do: pair, close: func() { _ = guard.Close(ctx) }} // the store never fails, so nothing is owed to it
		if replay {
			w.do, err = again, fill(pair)
		}
		return w, err
	}
}
