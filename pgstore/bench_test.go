package pgstore

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// yard is what the store is measured against, on the same pool: what somebody writes who needs an insert before an operation,
// an update after it and a select for a repetition, and nothing else.
type yard struct{ *Store }

func openYard(b *testing.B) *yard {
	b.Helper()
	server := testsvc.Postgres(b, "max_connections = 300", "shared_buffers = 256MB", "max_wal_size = 4GB")
	s := openAt(b, server.URL+"&pool_max_conns=32", nil)
	execute(b, s, "CREATE TABLE onceward.yard (id bytea PRIMARY KEY, owner bytea NOT NULL, state smallint NOT NULL, at timestamptz NOT NULL,"+
		" until timestamptz NOT NULL, fingerprint bytea NOT NULL, operation bytea NOT NULL, outcome bytea)")
	execute(b, s, "CREATE INDEX ON onceward.yard (until)")
	return &yard{s}
}

func (y *yard) pair(id driver.ID, c *driver.Claim) error {
	_, err := y.pool.Exec(bg, inSchema("INSERT INTO onceward.yard"+
		" VALUES ($1, $2, 1, now(), now() + interval '30 days', $3, $4)", y.schema),
		id[:], c.Owner[:],
		[]byte(c.Fingerprint.Sum), []byte(c.Labels.Operation))
	if err != nil {
		return err
	}
	update := "UPDATE onceward.yard SET state = 2, at = now(), until = now() + interval '1 day', outcome = $3" +
		" WHERE id = $1 AND owner = $2 AND state = 1"
	_, err = y.pool.Exec(bg, inSchema(update, y.schema), id[:], c.Owner[:], sampled.Bytes)
	return err
}

func (y *yard) read(id driver.ID) error {
	var r [5][]byte
	var state int64
	read := inSchema("SELECT owner, state, fingerprint, operation, outcome FROM onceward.yard WHERE id = $1", y.schema)
	return y.pool.QueryRow(bg, read, id[:]).Scan(&r[0], &state, &r[1], &r[2], &r[3])
}

// rate is how many calls a second so many callers make.
func rate(b *testing.B, callers int, call func(id driver.ID) error, ids func() driver.ID) float64 {
	b.Helper()
	ctx, cancel := context.WithTimeout(bg, 400*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	var calls atomic.Int64
	start := time.Now()
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := call(ids()); err != nil {
					b.Error(err)
					return
				}
				calls.Add(1)
			}
		})
	}
	all.Wait()
	return float64(calls.Load()) / time.Since(start).Seconds()
}

const rounds = 9

// compare makes two things in turns, and reports the median of their ratios. The first round warms up.
func compare(b *testing.B, callers int, ids func() driver.ID, ours, theirs func(id driver.ID) error) {
	b.Helper()
	for b.Loop() {
		var ratios, rates []float64
		for round := range rounds + 1 {
			first, second := ours, theirs
			if round%2 == 1 {
				first, second = theirs, ours
			}
			x, y := rate(b, callers, first, ids), rate(b, callers, second, ids)
			if round%2 == 1 {
				x, y = y, x
			}
			if round > 0 {
				ratios, rates = append(ratios, x/y), append(rates, x)
			}
		}
		slices.Sort(ratios)
		slices.Sort(rates)
		b.ReportMetric(ratios[rounds/2], "ratio")
		b.ReportMetric(ratios[0], "worst")
		b.ReportMetric(ratios[rounds-1], "best")
		b.ReportMetric(rates[rounds/2], "calls/s")
	}
}

// fresh are ids that nobody had.
func fresh() func() driver.ID {
	first := newID()
	var next atomic.Uint64
	return func() driver.ID {
		id := first
		binary.BigEndian.PutUint64(id[24:], next.Add(1))
		binary.BigEndian.PutUint64(id[:8], next.Load()*0x9e3779b97f4a7c15) // spread as hashes are
		return id
	}
}

// BenchmarkPair is what one request costs, an insert and an update being one.
func BenchmarkPair(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 128, 512} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			y, c := openYard(b), claim()
			compare(b, callers, fresh(), func(id driver.ID) error { pair(b, y.Store, id, &c); return nil },
				func(id driver.ID) error { return y.pair(id, &c) })
		})
	}
}

// BenchmarkPairAlone is the same without going together.
func BenchmarkPairAlone(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			y, c := openYard(b), claim()
			compare(b, callers, fresh(), func(id driver.ID) error { pair(b, &y.verbs, id, &c); return nil },
				func(id driver.ID) error { return y.pair(id, &c) })
		})
	}
}

// BenchmarkReplay is a repetition, a select being one.
func BenchmarkReplay(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			y, c := openYard(b), claim()
			ids := make([]driver.ID, 1000)
			next := fresh()
			for i := range ids {
				ids[i] = next()
				pair(b, y.Store, ids[i], &c)
				check.NoError(b, y.pair(ids[i], &c), "the yard")
			}
			var at atomic.Uint64
			compare(b, callers, func() driver.ID { return ids[at.Add(1)%1000] }, func(id driver.ID) error {
				g, err := y.Acquire(bg, id, c)
				if err == nil && g.Verdict != driver.Done {
					err = fmt.Errorf("the verdict is %v", g.Verdict)
				}
				return err
			}, y.read)
		})
	}
}
