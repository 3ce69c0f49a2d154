// Package golden checks that a store still understands rows that an earlier version wrote. What is in the rows is the same for
// all stores in databases; how they are put there is for the test of each.
package golden

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
)

// The rows: ids and owners repeat one byte.
const (
	running  = 1 + iota // hold, its owner at work
	givenUp             // rerun, the second of five attempts
	done                // with the answer "paid"
	resolved            // to done by an operator, with the tombstone "201"
	residue             // of a released key
)

var ctx = context.Background()

func id(row byte) driver.ID       { return driver.ID(bytes.Repeat([]byte{row}, 32)) }
func owner(row byte) driver.Owner { return driver.Owner(bytes.Repeat([]byte{0xa0 + row}, 16)) }

func claim(o driver.Owner) driver.Claim {
	return driver.Claim{
		Owner: o, Fingerprint: driver.Fingerprint{Algorithm: "http-bytes/1", Sum: "\xf0\x00\x9f\xff"},
		OnCrash: driver.Hold, MaxAttempts: 1, MaxExecution: 10 * time.Minute,
		Lease: time.Hour, Retain: 24 * time.Hour, DoubtRetain: 30 * 24 * time.Hour,
	}
}

// Rows checks a store whose only rows were written less than half an hour ago.
func Rows(t *testing.T, s driver.Store) {
	t.Helper()
	reads(t, s)
	goesOn(t, s)
}

// reads compares what the store says of the rows.
func reads(t *testing.T, s driver.Store) {
	t.Helper()
	shared := driver.Record{
		Fingerprint: claim(driver.Owner{}).Fingerprint, OnCrash: driver.Hold, Attempt: 1, MaxAttempts: 1, MaxExecution: 10 * time.Minute,
		Labels: driver.Labels{
			KeyTag: [8]byte{0x4b, 7: 0x4c}, ScopeTag: [8]byte{0x5c, 7: 0x5d}, KeyHint: "ord_…",
			Operation: "POST /payments", Route: "/payments", Host: "api.example",
		},
		Note: driver.Note{Actor: "engine", Reason: "why", TraceID: "4bf92f35", Node: "node-1"},
	}
	for row, change := range map[byte]func(r *driver.Record){
		running: func(r *driver.Record) { r.Phase, r.Fence, r.Lease = driver.PhaseRunning, 7, time.Hour },
		givenUp: func(r *driver.Record) {
			r.Phase, r.Fence, r.GivenUp, r.OnCrash, r.Attempt, r.MaxAttempts = driver.PhaseRunning, 3, true, driver.Rerun, 2, 5
		},
		done: func(r *driver.Record) {
			r.Phase, r.Fence, r.Outcome = driver.PhaseDone, 1, driver.Outcome{Kind: driver.Answer, Bytes: []byte("paid"), Note: r.Note}
		},
		resolved: func(r *driver.Record) {
			r.Phase, r.Fence, r.Outcome = driver.PhaseDone, 2, driver.Outcome{Kind: driver.Tombstone, Bytes: []byte("201"), Note: r.Note}
		},
		residue: func(r *driver.Record) { *r = driver.Record{} },
	} {
		want := shared
		change(&want)
		want.ID = id(row)
		got, err := s.Get(ctx, id(row))
		if err != nil {
			t.Errorf("row %d: %v", row, err)
			continue
		}
		if want.Phase != driver.PhaseAbsent {
			want.Age, want.Left = time.Minute, 24*time.Hour
		}
		compare(t, row, got, want)
	}
}

// compare lets half an hour have passed since the rows were written.
func compare(t *testing.T, row byte, got, want driver.Record) {
	t.Helper()
	near := func(got, want time.Duration) bool { return got-want < 30*time.Minute && want-got < 30*time.Minute }
	same := near(got.Age, want.Age) && near(got.Left, want.Left) && near(got.Lease, want.Lease) &&
		bytes.Equal(got.Outcome.Bytes, want.Outcome.Bytes) && got.Outcome.Kind == want.Outcome.Kind && got.Outcome.Note == want.Outcome.Note
	got.Age, got.Left, got.Lease, got.Outcome = want.Age, want.Left, want.Lease, driver.Outcome{}
	full := want
	want.Outcome = driver.Outcome{}
	if !same || !equal(got, want) {
		t.Errorf("row %d is\n\t%+v\nwant\n\t%+v", row, got, full)
	}
}

func equal(a, b driver.Record) bool {
	return a.ID == b.ID && a.Phase == b.Phase && a.Fingerprint == b.Fingerprint && a.OnCrash == b.OnCrash && a.Fence == b.Fence &&
		a.Attempt == b.Attempt && a.MaxAttempts == b.MaxAttempts && a.MaxExecution == b.MaxExecution && a.GivenUp == b.GivenUp &&
		a.Labels == b.Labels && a.Note == b.Note
}

// goesOn makes the next steps of the keys, as in a herd of which one half has been updated.
func goesOn(t *testing.T, s driver.Store) {
	t.Helper()
	stranger := driver.Owner{0xff}
	acquires := func(row byte, o driver.Owner, want driver.Verdict, fence uint64) {
		t.Helper()
		g, err := s.Acquire(ctx, id(row), claim(o))
		if err != nil || g.Verdict != want || g.Record.Fence < fence {
			t.Errorf("Acquire of row %d: %v, fence %d, %v; want %v, fence %d or more", row, g.Verdict, g.Record.Fence, err, want, fence)
		}
	}
	completes := func(row byte, out driver.Outcome, want error) {
		t.Helper()
		if err := s.Complete(ctx, id(row), owner(row), out); !errors.Is(err, want) {
			t.Errorf("Complete of row %d by its owner: %v, want %v", row, err, want)
		}
	}
	paid := driver.Outcome{Kind: driver.Answer, Bytes: []byte("paid")}
	acquires(running, stranger, driver.Running, 7)
	completes(running, paid, nil)
	acquires(running, stranger, driver.Done, 7)
	acquires(givenUp, stranger, driver.Acquired, 4)
	completes(givenUp, paid, driver.ErrLost)
	completes(done, paid, nil)
	acquires(done, stranger, driver.Done, 1)
	completes(resolved, driver.Outcome{Kind: driver.Tombstone, Bytes: []byte("201")}, driver.ErrLost)
	acquires(residue, owner(residue), driver.Lost, 0)
	acquires(residue, stranger, driver.Acquired, 10)
}
