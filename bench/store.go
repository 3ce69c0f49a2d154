package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
)

// stored is how many outcomes there are to replay; it is at most batch.
const stored = 5_000

// ids are made before anything is timed.
var ids = sync.OnceValue(func() []driver.ID {
	ids := make([]driver.ID, batch)
	for n := range ids {
		ids[n] = sha256.Sum256(binary.AppendUvarint(nil, uint64(n)))
	}
	return ids
})

var theAnswer = make([]byte, 200)

func theClaim() driver.Claim {
	return driver.Claim{
		Owner:       driver.Owner{1},
		Fingerprint: driver.Fingerprint{Algorithm: "http-bytes/1", Sum: "0123456789abcdef0123456789abcdef"},
		OnCrash:     driver.Hold, MaxAttempts: 5, MaxExecution: 10 * time.Minute,
		Lease: 30 * time.Second, Retain: 24 * time.Hour, DoubtRetain: 30 * 24 * time.Hour,
		Labels: driver.Labels{KeyHint: "0000…", Operation: "POST /payments", Route: "POST /payments", Host: "localhost"},
	}
}

// storeTable is the store alone against maps that keep the same content and nothing else: no expiry, no bounds, no
// take-over, and an outcome that is handed out without a copy.
func storeTable(cores int) *table {
	plural := map[bool]string{true: "s"}[cores > 1]
	const mapFresh, mapReplay = "sharded map, fresh", "sharded map, replay"
	rows := []row{
		{name: mapFresh, sample: inProcess(cores, true, mapWorld(newShardedMap, false))},
		{name: "sync.Map, fresh", against: mapFresh, sample: inProcess(cores, true, mapWorld(newSyncMap, false))},
		{name: "memstore, fresh", against: mapFresh, sample: inProcess(cores, true, storeWorld(false))},
		{name: mapReplay, sample: inProcess(cores, false, mapWorld(newShardedMap, true))},
		{name: "sync.Map, replay", against: mapReplay, sample: inProcess(cores, false, mapWorld(newSyncMap, true))},
		{name: "memstore, replay", against: mapReplay, sample: inProcess(cores, false, storeWorld(true))},
	}
	if cores == 1 {
		rows[2].targets = []target{nanoseconds(750), allocations(3)}
		rows[5].targets = []target{nanoseconds(200), allocations(1)}
	}
	return &table{
		name:  fmt.Sprintf("memstore-%d", cores),
		title: fmt.Sprintf("the store alone on %d core%s; fresh is one Acquire and one Complete", cores, plural),
		rows:  rows,
	}
}

func storeWorld(replay bool) func() (world, error) {
	return func() (world, error) {
		s, ids, claim := memstore.New(nil), ids(), theClaim()
		pair := func(n int) error {
			g, err := s.Acquire(context.Background(), ids[n], claim)
			if err != nil {
				return err
			}
			if g.Verdict != driver.Acquired {
				return fmt.Errorf("the fresh key %d is %v", n, g.Verdict)
			}
			return s.Complete(context.Background(), ids[n], claim.Owner, driver.Outcome{Kind: driver.Answer, Bytes: theAnswer})
		}
		if !replay {
			return world{do: pair, close: func() {}}, nil
		}
		again := func(n int) error {
			g, err := s.Acquire(context.Background(), ids[n%stored], claim)
			if err != nil {
				return err
			}
			if len(g.Record.Outcome.Bytes) != len(theAnswer) {
				return fmt.Errorf("the done key %d is %v", n%stored, g.Verdict)
			}
			return nil
		}
		return world{do: again, close: func() {}}, fill(pair)
	}
}

func mapWorld(open func() claims, replay bool) func() (world, error) {
	return func() (world, error) {
		m, ids, claim := open(), ids(), theClaim()
		pair := func(n int) error {
			if _, acquired := m.acquire(ids[n], &claim); !acquired || !m.complete(ids[n], claim.Owner, theAnswer) {
				return fmt.Errorf("the fresh key %d is not granted", n)
			}
			return nil
		}
		if !replay {
			return world{do: pair, close: func() {}}, nil
		}
		again := func(n int) error {
			if outcome, acquired := m.acquire(ids[n%stored], &claim); acquired || len(outcome) != len(theAnswer) {
				return fmt.Errorf("the done key %d is not replayed", n)
			}
			return nil
		}
		return world{do: again, close: func() {}}, fill(pair)
	}
}

// fill makes outcomes to replay.
func fill(pair func(n int) error) error {
	for n := range stored {
		if err := pair(n); err != nil {
			return err
		}
	}
	return nil
}
