package pgstore

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
)

var sampled = driver.Outcome{Kind: driver.Answer, Bytes: []byte(strings.Repeat("a", 200))}

// claim is a typical one.
func claim() driver.Claim {
	return driver.Claim{
		Owner:       newOwner(),
		Fingerprint: driver.Fingerprint{Algorithm: "http-1", Sum: strings.Repeat("f", 32)},
		OnCrash:     driver.Hold, MaxAttempts: 1, MaxExecution: 10 * time.Minute,
		Lease: 30 * time.Second, Retain: 24 * time.Hour, DoubtRetain: 30 * 24 * time.Hour,
		Labels: driver.Labels{KeyHint: "0198…", Operation: "POST /payments", Route: "/payments", Host: "api.example"},
		Note:   driver.Note{Node: "node-1", TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"},
	}
}

func newOwner() (o driver.Owner) {
	_, _ = rand.Read(o[:])
	return o
}

func newID() (id driver.ID) {
	_, _ = rand.Read(id[:])
	return id
}

// pair is what one request costs: the key acquired, the answer stored.
func pair(t testing.TB, s driver.Store, id driver.ID, c *driver.Claim) {
	t.Helper()
	if g, err := s.Acquire(bg, id, *c); err != nil || g.Verdict != driver.Acquired {
		t.Fatal(g.Verdict, err)
	}
	if err := s.Complete(bg, id, c.Owner, sampled); err != nil {
		t.Fatal(err)
	}
}
