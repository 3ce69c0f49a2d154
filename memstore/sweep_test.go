package memstore

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

func TestSweepLooksOnlyAtWhatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const live, expired = 100_000, 10
		s := open(t, nil)
		for n := range uint64(live + expired) {
			c := claim(1)
			if n%(live/expired) == 0 && n < live {
				c.DoubtRetain = time.Minute
			}
			acquire(t, s, numbered(n), c, driver.Acquired)
		}
		time.Sleep(time.Minute)
		removed, visited, err := s.sweep(t.Context(), live)
		check.NoError(t, err, "sweep")
		check.Equal(t, removed, expired, "records removed")
		check.Equal(t, visited, expired, "records looked at")
		check.Equal(t, s.records.Load(), live, "records left")
	})
}

// A record that is kept alive costs one look per doubt retention, however many signs of life there were.
func TestSignsOfLifeAreCheapToSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := open(t, nil), claim(1)
		c.DoubtRetain = time.Hour
		acquire(t, s, numbered(0), c, driver.Acquired)
		looks := 0
		for range 10 * 60 {
			time.Sleep(time.Minute)
			check.NoError(t, s.Extend(t.Context(), numbered(0), c.Owner, driver.Extension{Lease: c.Lease}), "Extend")
			removed, visited, err := s.sweep(t.Context(), 10)
			check.NoError(t, err, "sweep")
			check.Equal(t, removed, 0, "live records removed")
			looks += visited
		}
		check.True(t, looks >= 1 && looks <= 11, "looked %d times in ten hours, with a doubt retention of one", looks)
		time.Sleep(time.Hour)
		check.Equal(t, sweep(t, s, 10), 1, "records removed after the last sign of life expired")
	})
}

func TestSweepKeepsToItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const records = 2000
		s := open(t, nil)
		for n := range uint64(records) {
			var id driver.ID // all in one shard, more than a batch of them
			id[1], id[2] = byte(n), byte(n>>8)
			acquire(t, s, id, claim(1), driver.Acquired)
		}
		time.Sleep(month)
		check.Equal(t, sweep(t, s, 0), 0, "removed with limit 0")
		check.Equal(t, sweep(t, s, 1500), 1500, "removed with limit 1500")
		check.Equal(t, sweep(t, s, 1500), records-1500, "removed with limit 1500, the second time")
	})
}

func TestSweepReachesAllShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, nil)
		brief := claim(1)
		brief.Lease, brief.DoubtRetain = time.Second, time.Second
		for n := range uint64(256) {
			acquire(t, s, numbered(n), brief, driver.Acquired)
		}
		time.Sleep(time.Second)
		for n := range uint64(256) { // new records expire in the first shard as fast as they are swept
			check.Equal(t, sweep(t, s, 1), 1, "records removed")
			acquire(t, s, numbered((n+1)<<8), brief, driver.Acquired)
			time.Sleep(time.Second)
		}
		for i := range s.shards[1:] {
			check.Equal(t, len(s.shards[1+i].records), 0, "records in shard %d", 1+i)
		}
	})
}

func TestHeapComesBack(t *testing.T) {
	const records = 100_000
	before := heapInUse()
	s, c := open(t, nil), claim(1)
	c.Lease, c.DoubtRetain = time.Nanosecond, time.Nanosecond
	for n := range uint64(records) {
		acquire(t, s, numbered(n), c, driver.Acquired)
	}
	full := heapInUse() - before
	check.Equal(t, sweep(t, s, records+1), records, "records removed")
	left := heapInUse() - before
	check.True(t, left < full/20, "%d bytes of heap are left of %d", left, full)
}
