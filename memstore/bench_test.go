package memstore

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

const million = 1_000_000

var (
	ctx    = context.Background()
	answer = driver.Outcome{Kind: driver.Answer, Bytes: []byte(strings.Repeat("a", 200))}
)

// pair is what one request costs: the key acquired, the answer stored.
func pair(b *testing.B, s *Store, n uint64, out driver.Outcome) {
	b.Helper()
	c := claim(1)
	if g, err := s.Acquire(ctx, numbered(n), c); err != nil || g.Verdict != driver.Acquired {
		b.Fatal(g.Verdict, err)
	}
	if err := s.Complete(ctx, numbered(n), c.Owner, out); err != nil {
		b.Fatal(err)
	}
}

func filled(b *testing.B, records uint64) *Store {
	b.Helper()
	s := New(&Options{MaxRecords: 100 * million, MaxBytes: 100 << 30})
	for n := range records {
		pair(b, s, n, answer)
	}
	runtime.GC()
	return s
}

// BenchmarkFresh starts again with an empty store every 100,000 records, so that the growth of the maps is part of it.
func BenchmarkFresh(b *testing.B) {
	s, n := New(nil), uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		if n++; n%100_000 == 0 {
			s = New(nil)
		}
		pair(b, s, n, answer)
	}
}

// BenchmarkFreshAmongMany keeps the number of records as it is: each answer expires at once and is swept.
func BenchmarkFreshAmongMany(b *testing.B) {
	s, n := filled(b, million), uint64(million)
	brief := answer
	brief.Retain = 1
	b.ReportAllocs()
	for b.Loop() {
		n++
		pair(b, s, n, brief)
		if n%1000 == 0 {
			if _, err := s.Sweep(ctx, million); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkFreshParallel(b *testing.B) {
	var next, goroutines atomic.Uint64
	var s atomic.Pointer[Store]
	s.Store(New(nil))
	b.SetParallelism(max(1, 8/runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		goroutines.Add(1)
		for pb.Next() {
			n := next.Add(1)
			if n%100_000 == 0 {
				s.Store(New(nil))
			}
			pair(b, s.Load(), n, answer)
		}
	})
	b.ReportMetric(float64(goroutines.Load()), "goroutines")
}

func BenchmarkReplay(b *testing.B) {
	for _, stored := range []uint64{1000, million} {
		b.Run(fmt.Sprintf("stored=%d", stored), func(b *testing.B) {
			s, c := filled(b, stored), claim(2)
			b.ReportAllocs()
			for n := uint64(0); b.Loop(); n++ {
				g, err := s.Acquire(ctx, numbered(n*7919%stored), c)
				if err != nil || g.Verdict != driver.Done {
					b.Fatal(g.Verdict, err)
				}
			}
		})
	}
}

func BenchmarkReplayParallel(b *testing.B) {
	const stored = 100_000
	s := filled(b, stored)
	var next atomic.Uint64
	b.SetParallelism(max(1, 8/runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c, n := claim(2), next.Add(1)<<32
		for ; pb.Next(); n++ {
			if g, err := s.Acquire(ctx, numbered(n%stored), c); err != nil || g.Verdict != driver.Done {
				b.Fatal(g.Verdict, err)
			}
		}
	})
}

func BenchmarkExtend(b *testing.B) {
	s, c := New(nil), claim(1)
	if _, err := s.Acquire(ctx, numbered(1), c); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Extend(ctx, numbered(1), c.Owner, driver.Extension{Lease: time.Minute}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefusal is a new key for a store that is full of live records.
func BenchmarkRefusal(b *testing.B) {
	const limit = 100_000
	s := New(&Options{MaxRecords: limit})
	for n := range uint64(limit) {
		pair(b, s, n, answer)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, err := s.Acquire(ctx, numbered(limit), claim(1))
		check.ErrorIs(b, err, driver.ErrFull, "a new key for a full store")
	}
}

// BenchmarkMemory reports the heap that a running record takes, with strings that all records share.
func BenchmarkMemory(b *testing.B) {
	const records = 200_000
	for b.Loop() {
		s, before := New(nil), heapInUse()
		for n := range uint64(records) {
			if _, err := s.Acquire(ctx, numbered(n), claim(1)); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heapInUse()-before)/records, "B/record")
		runtime.KeepAlive(s)
	}
}

// heapInUse is signed because a test that ran before may leave garbage that goes later.
func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
