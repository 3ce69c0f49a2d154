package mysqlstore

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/intx"
	"github.com/onceward/onceward/internal/testsvc"
)

// yard is what the store is measured against, on the same pool and prepared too: what somebody writes who needs an insert before
// an operation, an update after it and a select for a repetition, and nothing else.
type yard struct {
	*Store

	insert, update, read, effect *sql.Stmt
}

func openYard(b *testing.B) *yard {
	b.Helper()
	server := testsvc.MariaDB(b, "max_connections = 300", "innodb_buffer_pool_size = 256M", "innodb_log_file_size = 512M")
	s := openAt(b, server.URL, nil)
	s.db.SetMaxOpenConns(32)
	s.db.SetMaxIdleConns(32)
	execute(b, s, "CREATE TABLE onceward_yard (id BINARY(32) PRIMARY KEY, owner BINARY(16) NOT NULL, state TINYINT NOT NULL,"+
		" at DATETIME(6) NOT NULL, until DATETIME(6) NOT NULL, fingerprint BLOB NOT NULL, operation BLOB NOT NULL, outcome BLOB,"+
		" KEY (until)) ENGINE = InnoDB")
	execute(b, s, "CREATE TABLE onceward_effects (seq BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL) ENGINE = InnoDB")
	prepare := func(text string) *sql.Stmt {
		st, err := s.db.PrepareContext(bg, s.named(text))
		check.NoError(b, err, "preparing")
		b.Cleanup(func() { _ = st.Close() })
		return st
	}
	return &yard{
		s,
		prepare("INSERT INTO onceward_yard VALUES (?, ?, 1, NOW(6), NOW(6) + INTERVAL 30 DAY, ?, ?, NULL)"),
		prepare("UPDATE onceward_yard SET state = 2, at = NOW(6), until = NOW(6) + INTERVAL 1 DAY, outcome = ?" +
			" WHERE id = ? AND owner = ? AND state = 1"),
		prepare("SELECT owner, state, fingerprint, operation, outcome FROM onceward_yard WHERE id = ?"),
		prepare("INSERT INTO onceward_effects (name) VALUES (?)"),
	}
}

func (y *yard) pair(id driver.ID, c *driver.Claim) error {
	_, err := y.insert.ExecContext(bg, id[:], c.Owner[:], []byte(c.Fingerprint.Sum), []byte(c.Labels.Operation))
	if err == nil {
		_, err = y.update.ExecContext(bg, sampled.Bytes, id[:], c.Owner[:])
	}
	return err
}

func (y *yard) look(id driver.ID) error {
	var r [4][]byte
	var state int64
	return y.read.QueryRowContext(bg, id[:]).Scan(&r[0], &state, &r[1], &r[2], &r[3])
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
		id, n := first, next.Add(1)
		binary.BigEndian.PutUint64(id[24:], n)
		binary.BigEndian.PutUint64(id[:8], n*0x9e3779b97f4a7c15) // spread as hashes are
		return id
	}
}

// BenchmarkPair is what one request costs, an insert and an update being one.
func BenchmarkPair(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			y, c := openYard(b), claim()
			compare(b, callers, fresh(), func(id driver.ID) error { pair(b, y.Store, id, &c); return nil },
				func(id driver.ID) error { return y.pair(id, &c) })
		})
	}
}

// BenchmarkReplay is a repetition, a select being one.
func BenchmarkReplay(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 128} {
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
			}, y.look)
		})
	}
}

// BenchmarkTransaction is an effect with its key in one transaction, the effect alone being one.
func BenchmarkTransaction(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			y, c := openYard(b), claim()
			e := engine{y.Store}
			effect := func(st *sql.Stmt) error {
				_, err := st.ExecContext(bg, "charge")
				return err
			}
			compare(b, callers, fresh(), func(id driver.ID) error {
				w, err := e.Begin(bg, id)
				if err != nil {
					return err
				}
				defer w.Rollback()
				if err := effect(w.Tx().StmtContext(bg, y.effect)); err != nil {
					return err
				}
				return w.Commit(bg, intx.Done{ID: id, Claim: c, Fence: 1, Attempt: 1, Outcome: sampled})
			}, func(driver.ID) error { return effect(y.effect) })
		})
	}
}
