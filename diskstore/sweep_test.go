package diskstore

import (
	"runtime"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// fill stores so many running records, which end after a time.
func fill(t testing.TB, s *Store, from, to int, keep time.Duration) {
	t.Helper()
	b := s.db.NewBatch()
	for n := from; n < to; n++ {
		id := keyOf(0, 0, n)
		c := claimOf(id)
		c.DoubtRetain = keep
		one, err := s.replace(id, false, 0, newEntry(id, &c, 1, s.now()))
		check.NoError(t, err, "preparing a record")
		check.NoError(t, b.Apply(one, nil), "collecting a record")
		check.NoError(t, one.Close(), "closing a batch")
		if b.Len() > 1<<20 || n == to-1 {
			check.NoError(t, s.db.Apply(b, pebble.NoSync), "storing records")
			b.Reset()
		}
	}
}

// skip lets time pass by the clock of the store.
func skip(s *Store, d time.Duration) { s.epoch += int64(d) }

func TestSweepLooksOnlyAtWhatExpired(t *testing.T) {
	const live, expired = 50_000, 30
	s := openAt(t, "data", vfs.NewMem())
	fill(t, s, 0, live, time.Hour)
	fill(t, s, live, live+expired, time.Minute)
	removed, visited, err := s.sweep(bg, live)
	check.NoError(t, err, "sweep")
	check.Equal(t, [2]int{removed, visited}, [2]int{}, "removed and visited before anything has expired")

	skip(s, 2*time.Minute+time.Second)
	for _, want := range []int{10, 20, 0} {
		removed, visited, err = s.sweep(bg, max(10, want))
		check.NoError(t, err, "sweep")
		check.Equal(t, [2]int{removed, visited}, [2]int{want, want}, "removed and visited")
	}
	left, err := s.each(recordPrefix, func(_, _ []byte) error { return nil })
	check.NoError(t, err, "counting")
	check.Equal(t, left, live, "records left")
}

// Signs of life move a record to another bucket of the index once a minute, however many there are.
func TestSignsOfLifeAreCheap(t *testing.T) {
	s := openAt(t, "data", vfs.NewMem())
	id := keyOf(0, 0, 0)
	acquire(t, s, id)
	moves, last := 0, uint64(0)
	for range 60 {
		skip(s, 10*time.Second)
		check.NoError(t, s.Extend(bg, id, ownerOf(id), driver.Extension{Lease: time.Minute}), "Extend")
		check.NoError(t, s.consistent(), "after a sign of life")
		if e, err := s.load(id); err != nil || s.bucket(e.Gone) != last {
			moves, last = moves+1, s.bucket(e.Gone)
		}
		removed, visited, err := s.sweep(bg, 10)
		check.NoError(t, err, "sweep")
		check.Equal(t, [2]int{removed, visited}, [2]int{}, "removed and visited of a live record")
	}
	check.True(t, moves >= 10 && moves <= 11, "moved %d times in ten minutes", moves)
	skip(s, 2*time.Hour)
	removed, _, err := s.sweep(bg, 10)
	check.NoError(t, err, "sweep")
	check.Equal(t, removed, 1, "records removed after the last sign of life")
}

func TestManyRecordsOpenFastAndTakeNoMemory(t *testing.T) {
	records := setting("DISKSTORE_TEST_RECORDS", 50_000)
	dir := t.TempDir()
	s := openAt(t, dir, vfs.Default)
	fill(t, s, 0, records, time.Hour)
	check.NoError(t, s.Close(), "closing")
	before := heapInUse()
	start := time.Now()
	s = openAt(t, dir, vfs.Default)
	took := time.Since(start)
	check.Equal(t, acquire(t, s, keyOf(0, 0, records/2)).Attempt, 1, "attempts of a record")
	grown := heapInUse() - before
	t.Logf("%d records: opened in %v, with %d KiB of heap", records, took, grown>>10)
	check.True(t, took < 2*time.Second, "opening took %v", took)
	check.True(t, grown < 16<<20, "the heap has grown by %d bytes", grown)
}

func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
