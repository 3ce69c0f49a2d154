package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

var (
	bg      = context.Background()
	sampled = driver.Outcome{Kind: driver.Answer, Bytes: []byte(strings.Repeat("a", 200))}
)

// claim is one of a sidecar.
func claim() driver.Claim {
	return driver.Claim{
		Owner:       newOwner(),
		Fingerprint: driver.Fingerprint{Algorithm: "http-bytes/1", Sum: strings.Repeat("\xf0\x00\x9f\xff", 8)},
		OnCrash:     driver.Hold, MaxAttempts: 1, MaxExecution: 10 * time.Minute,
		Lease: 30 * time.Second, Retain: 24 * time.Hour, DoubtRetain: 30 * 24 * time.Hour,
		Labels: driver.Labels{
			KeyTag: [8]byte{0x4b, 7: 0x4c}, ScopeTag: [8]byte{0x5c, 7: 0x5d}, KeyHint: "ord_…",
			Operation: "POST /api/payments", Route: "POST /api/payments", Host: "api.example.com",
		},
		Note: driver.Note{Node: "payments-7f9c4"},
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

func pair(b testing.TB, s *Store, id driver.ID, c *driver.Claim) {
	b.Helper()
	if g, err := s.Acquire(bg, id, *c); err != nil || g.Verdict != driver.Acquired {
		b.Fatal(g.Verdict, err)
	}
	if err := s.Complete(bg, id, c.Owner, sampled); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkPair is what one request costs: the key acquired, the answer stored.
func BenchmarkPair(b *testing.B) {
	for _, callers := range []int{1, 16, 128, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := openAt(b, benchServer(b).URL, &Options{Namespace: testsvc.Name()})
			first, c := newID(), claim()
			var next atomic.Uint64
			parallel(b, callers, func() {
				id := first
				binary.BigEndian.PutUint64(id[:], next.Add(1))
				pair(b, s, id, &c)
			})
		})
	}
}

func BenchmarkAcquire(b *testing.B) {
	s := openAt(b, benchServer(b).URL, nil)
	c := claim()
	var next atomic.Uint64
	parallel(b, 16, func() {
		var id driver.ID
		binary.BigEndian.PutUint64(id[:], next.Add(1))
		if g, err := s.Acquire(bg, id, c); err != nil || g.Verdict != driver.Acquired {
			b.Fatal(g.Verdict, err)
		}
	})
}

func BenchmarkReplay(b *testing.B) {
	for _, cached := range []bool{false, true} {
		b.Run(fmt.Sprintf("cached=%v", cached), func(b *testing.B) {
			s := openAt(b, benchServer(b).URL, &Options{Namespace: testsvc.Name(), CacheCompleted: cached})
			id, c := newID(), claim()
			pair(b, s, id, &c)
			parallel(b, 128, func() {
				g, err := s.Acquire(bg, id, c)
				if err != nil || g.Verdict != driver.Done {
					b.Fatal(g.Verdict, err)
				}
			})
		})
	}
}

func parallel(b *testing.B, callers int, call func()) {
	b.Helper()
	b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			call()
		}
	})
}

// benchServer does not sync, so that the disk is not what is measured.
func benchServer(b *testing.B) *testsvc.Server {
	b.Helper()
	return testsvc.Redis(b, "appendonly no")
}

// 350 bytes would leave 246 for the value, and the answer, owner, fingerprint and tags alone are 264.
func TestMemoryOfARecord(t *testing.T) {
	server := testsvc.SharedRedis(t)
	s, client := openAt(t, server.URL, &Options{Namespace: "onceward"}), clientOf(t, server.URL)
	for _, shape := range []struct {
		name string
		thin func(*driver.Claim)
		most int64
	}{
		{"of a sidecar", func(*driver.Claim) {}, 488},
		{"of a function", func(c *driver.Claim) {
			c.Labels.Operation, c.Labels.Route, c.Labels.Host, c.Note = "charge", "", "", driver.Note{}
		}, 488},
	} {
		id, c := newID(), claim()
		shape.thin(&c)
		_, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
		out := sampled
		out.Note = c.Note
		check.NoError(t, s.Complete(bg, id, c.Owner, out), "Complete")
		a := s.newCall(id, 0)
		key := a.key()
		usage := redis(t, client, "MEMORY", "USAGE", key)
		used, err := usage.AsInt64()
		check.NoError(t, err, "MEMORY USAGE")
		strlen := redis(t, client, "STRLEN", key)
		length, _ := strlen.AsInt64()
		t.Logf("a done record %s: %d bytes, its value %d", shape.name, used, length)
		check.True(t, used <= shape.most, "a done record %s takes %d bytes, more than %d", shape.name, used, shape.most)
	}
}
