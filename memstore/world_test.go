package memstore

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

const month = 30 * 24 * time.Hour

// open returns a store whose books are checked at the end of the test.
func open(t *testing.T, o *Options) *Store {
	t.Helper()
	s := New(o)
	t.Cleanup(func() { checkBooks(t, s) })
	return s
}

// checkBooks compares what the store has counted with what it holds, and its schedules with its records.
func checkBooks(t *testing.T, s *Store) {
	t.Helper()
	var records, size int64
	for i := range s.shards {
		sh := &s.shards[i]
		check.Equal(t, len(sh.schedule), len(sh.records), "scheduled records of shard %d", i)
		for at, r := range sh.schedule {
			records, size = records+1, size+r.size()
			check.True(t, sh.records[r.id] == r && r.position == at, "%s is not where its shard looks for it", r.id)
			check.True(t, r.due <= r.expires(), "%s expires at %v and is due only at %v", r.id, r.expires(), r.due)
			parent := sh.schedule[max(0, (at-1)/2)]
			check.True(t, parent.due <= r.due, "%s is due before its parent in the schedule", r.id)
		}
	}
	check.Equal(t, s.records.Load(), records, "counted records")
	check.Equal(t, s.bytes.Load(), size, "counted bytes")
}

// numbered is an id; consecutive ones are in different shards.
func numbered(n uint64) (id driver.ID) {
	binary.LittleEndian.PutUint64(id[:], n)
	return id
}

func claim(owner byte) driver.Claim {
	return driver.Claim{
		Owner:        driver.Owner{owner},
		Fingerprint:  driver.Fingerprint{Algorithm: "bytes", Sum: "0123456789abcdef0123456789abcdef"},
		OnCrash:      driver.Hold,
		MaxAttempts:  1,
		MaxExecution: 10 * time.Minute,
		Lease:        30 * time.Second,
		Retain:       24 * time.Hour,
		DoubtRetain:  month,
		Labels:       driver.Labels{Operation: "charge", Route: "POST /payments", Host: "example.com"},
	}
}

func outcome(s string) driver.Outcome { return driver.Outcome{Kind: driver.Answer, Bytes: []byte(s)} }

// acquire expects the verdict and returns the record.
func acquire(t *testing.T, s *Store, id driver.ID, c driver.Claim, want driver.Verdict) driver.Record {
	t.Helper()
	g, err := s.Acquire(t.Context(), id, c)
	check.NoError(t, err, "Acquire by %v", c.Owner[0])
	check.Equal(t, g.Verdict, want, "verdict for %v", c.Owner[0])
	return g.Record
}

func sweep(t *testing.T, s *Store, limit int) int {
	t.Helper()
	removed, err := s.Sweep(t.Context(), limit)
	check.NoError(t, err, "Sweep")
	return removed
}
