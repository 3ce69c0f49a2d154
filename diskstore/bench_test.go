package diskstore

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// BenchmarkAudit is Acquire and Complete of a new key, at the level all with a sign of life between them, in a store with an
// audit trail and in one without. The two take turns; the ratio is the median of the rounds.
func BenchmarkAudit(b *testing.B) {
	note := driver.Note{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Node: "node-1"}
	labels := driver.Labels{Operation: "POST /api/payments", KeyHint: "0198…", Route: "/api/payments", Host: "pay.example.com"}
	answer := make([]byte, 200)
	var n atomic.Uint64
	pair := func(s *Store, signs bool) error {
		id := driver.ID(sha256.Sum256(binary.BigEndian.AppendUint64(nil, n.Add(1))))
		c := claimOf(id)
		c.Note, c.Labels = note, labels
		_, err := s.Acquire(bg, id, c)
		if err == nil && signs {
			err = s.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Hour, Note: note})
		}
		return errors.Join(err, s.Complete(bg, id, c.Owner, driver.Outcome{Kind: driver.Answer, Bytes: answer, Note: note}))
	}
	for _, level := range []driver.AuditLevel{driver.AuditTransitions, driver.AuditAll} {
		for _, callers := range []int{1, 16, 128} {
			b.Run(fmt.Sprintf("%v/callers=%d", level, callers), func(b *testing.B) {
				signs := level == driver.AuditAll
				with, without := openAudited(b, level), openAudited(b, driver.AuditOff)
				var ratios, pairs []float64
				for b.Loop() {
					off := rate(b, callers, func() error { return pair(without, signs) })
					on := rate(b, callers, func() error { return pair(with, signs) })
					ratios, pairs = append(ratios, on/off), append(pairs, on)
				}
				slices.Sort(ratios)
				slices.Sort(pairs)
				b.ReportMetric(ratios[len(ratios)/2], "of-off")
				b.ReportMetric(pairs[len(pairs)/2], "pairs/s")
			})
		}
	}
}

func openAudited(b *testing.B, level driver.AuditLevel) *Store {
	b.Helper()
	s, err := Open(b.TempDir(), &Options{Audit: level, Logger: quiet})
	check.NoError(b, err, "opening")
	b.Cleanup(func() { check.NoError(b, s.Close(), "closing") })
	return s
}

// rate is how often per second so many callers can do op, in a round of 250 ms.
func rate(b *testing.B, callers int, op func() error) float64 {
	b.Helper()
	var done, failed atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for range callers {
		all.Go(func() {
			for time.Since(start) < 250*time.Millisecond {
				if op() != nil {
					failed.Add(1)
					return
				}
				done.Add(1)
			}
		})
	}
	all.Wait()
	check.Equal(b, failed.Load(), 0, "calls that failed")
	return float64(done.Load()) / time.Since(start).Seconds()
}

func BenchmarkReplay(b *testing.B) {
	s := openAt(b, b.TempDir(), vfs.Default)
	id := keyOf(0, 0, 0)
	acquire(b, s, id)
	check.NoError(b, complete(s, id), "Complete")
	c := claimOf(id)
	for b.Loop() {
		if g, err := s.Acquire(bg, id, c); err != nil || g.Verdict != driver.Done {
			b.Fatal(g.Verdict, err)
		}
	}
}
