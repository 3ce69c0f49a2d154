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

// stored is how many outcomes there are to replay; it is at most batch. Tests have fewer.
var stored = 5_000

// ids are made before anything is timed.
var ids = sync.OnceValue(func() []driver.ID {
	ids := make([]driver.ID, batch)
	for n := range ids {
		ids[n] = idOf(n)
	}
	return ids
})

func idOf(n int) driver.ID { return sha256.Sum256(binary.AppendUvarint(nil, uint64(n))) }

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
		ids := ids()
		p := pairs{context.Background(), memstore.New(nil), func(n int) driver.ID { return ids[n] }, theClaim()}
		if !replay {
			return world{do: p.fresh, close: func() {}}, nil
		}
		return world{do: func(n int) error { return p.replay(n % stored) }, close: func() {}}, fill(p.fresh)
	}
}

// pairs are calls of a store.
type pairs struct {
	ctx   context.Context //nolint:containedctx // that of all its calls
	store driver.Store
	id    func(n int) driver.ID
	claim driver.Claim
}

// fresh is one Acquire and one Complete of the nth key, which nobody has used.
func (p *pairs) fresh(n int) error {
	id := p.id(n)
	g, err := p.store.Acquire(p.ctx, id, p.claim)
	if err != nil {
		return err
	}
	if g.Verdict != driver.Acquired {
		return fmt.Errorf("the fresh key %d is %v", n, g.Verdict)
	}
	return p.store.Complete(p.ctx, id, p.claim.Owner, driver.Outcome{Kind: driver.Answer, Bytes: theAnswer})
}

// replay is one Acquire of the nth key, which is done.
func (p *pairs) replay(n int) error {
	g, err := p.store.Acquire(p.ctx, p.id(n), p.claim)
	if err != nil {
		return err
	}
	if len(g.Record.Outcome.Bytes) != len(theAnswer) {
		return fmt.Errorf("the done key %d is %v", n, g.Verdict)
	}
	return nil
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

// fill makes outcomes to replay. On a disk, many callers at once share what one would wait for.
func fill(pair func(n int) error) error { return spread(128, stored, pair) }
