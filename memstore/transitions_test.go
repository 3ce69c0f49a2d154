package memstore

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// These are the cases that depend on how this store keeps residues and expired records. What every store must do is
// stated once, in package storetest.

func TestFenceOutlivesTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, id := open(t, nil), numbered(0)
		check.Equal(t, acquire(t, s, id, claim(1), driver.Acquired).Fence, 1, "first fence")
		time.Sleep(month)
		check.Equal(t, acquire(t, s, id, claim(1), driver.Acquired).Fence, 2, "fence after a running record expired")
		check.NoError(t, s.Complete(t.Context(), id, claim(1).Owner, outcome("a")), "Complete")
		time.Sleep(24 * time.Hour)
		check.Equal(t, acquire(t, s, id, claim(2), driver.Acquired).Fence, 3, "fence after a done record expired")
		check.NoError(t, s.Release(t.Context(), id, claim(2).Owner, driver.Note{}), "Release")
		time.Sleep(driver.MinResidue)
		check.Equal(t, acquire(t, s, id, claim(2), driver.Acquired).Fence, 4, "fence after a residue expired")
	})
}

func TestReleaseOfNothingKeepsAnOlderResidue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, id, first, second := open(t, nil), numbered(0), claim(1), claim(2)
		first.Lease = time.Hour
		acquire(t, s, id, first, driver.Acquired)
		check.NoError(t, s.Release(t.Context(), id, first.Owner, driver.Note{}), "Release")
		check.NoError(t, s.Release(t.Context(), id, second.Owner, driver.Note{}), "Release of nothing")
		acquire(t, s, id, second, driver.Lost)
		time.Sleep(2*time.Hour - 1)
		check.Equal(t, sweep(t, s, 1), 0, "residues swept before two leases of the first owner are over")
		check.Equal(t, acquire(t, s, id, claim(3), driver.Acquired).Fence, 2, "fence")
	})
}

func TestResidueCountsTheLastLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, id, c := open(t, nil), numbered(0), claim(1)
		acquire(t, s, id, c, driver.Acquired)
		check.NoError(t, s.Extend(t.Context(), id, c.Owner, driver.Extension{Lease: time.Hour}), "Extend")
		check.NoError(t, s.Extend(t.Context(), id, c.Owner, driver.Extension{}), "giving up")
		check.NoError(t, s.Resolve(t.Context(), id, driver.Resolution{Fence: 1}), "Resolve to absent")
		time.Sleep(2*time.Hour - 1)
		acquire(t, s, id, c, driver.Lost)
		time.Sleep(time.Nanosecond)
		acquire(t, s, id, c, driver.Acquired)
	})
}

func TestResolutionTakesTheOutcomeAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, id, c := open(t, nil), numbered(0), claim(1)
		acquire(t, s, id, c, driver.Acquired)
		check.NoError(t, s.Extend(t.Context(), id, c.Owner, driver.Extension{}), "giving up")
		out := outcome("a")
		out.Note.Reason = "the bank says so"
		by := driver.Note{Actor: "operator"}
		check.NoError(t, s.Resolve(t.Context(), id, driver.Resolution{Fence: 1, Outcome: &out, Note: by}), "Resolve")
		check.ErrorIs(t, s.Complete(t.Context(), id, c.Owner, out), driver.ErrLost, "Complete with equal bytes")
		check.ErrorIs(t, s.Release(t.Context(), id, c.Owner, driver.Note{}), driver.ErrLost, "Release")
		rec := acquire(t, s, id, c, driver.Done)
		check.Equal(t, rec.Note, by, "note of the resolution")
		check.Equal(t, rec.Outcome, out, "outcome")
	})
}

func TestKeptForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, id, c := open(t, nil), numbered(0), claim(1)
		c.Lease, c.DoubtRetain, c.Retain = math.MaxInt64, math.MaxInt64, math.MaxInt64
		time.Sleep(time.Hour)
		acquire(t, s, id, c, driver.Acquired)
		time.Sleep(time.Hour)
		check.Equal(t, sweep(t, s, 1), 0, "records swept")
		acquire(t, s, id, claim(2), driver.Running)
		check.NoError(t, s.Release(t.Context(), id, c.Owner, driver.Note{}), "Release")
		time.Sleep(time.Hour)
		acquire(t, s, id, c, driver.Lost)
	})
}

// TestBooksOfAnyHistory is about the books that open checks at the end, and about panics; verdicts do not matter.
func TestBooksOfAnyHistory(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	synctest.Test(t, func(t *testing.T) {
		s := open(t, &Options{MaxRecords: 10, MaxBytes: 12_000})
		granted, refused, lost, swept := 0, 0, 0, 0
		for range 5000 {
			id, c := numbered(rnd.Uint64N(50)), claim(byte(rnd.IntN(4)))
			c.Note.Actor = "somebody"[:rnd.IntN(8)]
			c.DoubtRetain = time.Duration(1+rnd.IntN(60)) * time.Minute
			out := outcome(string(make([]byte, rnd.IntN(3000))))
			out.Retain = time.Duration(rnd.IntN(60)) * time.Minute
			var err error
			switch rnd.IntN(8) {
			case 0, 1:
				var g driver.Grant
				if g, err = s.Acquire(t.Context(), id, c); g.Verdict == driver.Acquired {
					granted++
				}
			case 2:
				err = s.Extend(t.Context(), id, c.Owner, driver.Extension{Lease: time.Duration(rnd.IntN(2)) * time.Minute})
			case 3:
				err = s.Complete(t.Context(), id, c.Owner, out)
			case 4:
				err = s.Release(t.Context(), id, c.Owner, c.Note)
			case 5:
				r := driver.Resolution{Fence: 1 + rnd.Uint64N(3), Force: rnd.IntN(2) == 0, Note: c.Note}
				if rnd.IntN(2) == 0 {
					r.Outcome = &out
				}
				err = s.Resolve(t.Context(), id, r)
			case 6:
				swept += sweep(t, s, rnd.IntN(5))
			case 7:
				time.Sleep(time.Duration(rnd.IntN(300)) * time.Second)
			}
			switch {
			case err == nil:
			case errors.Is(err, driver.ErrLost):
				lost++
			default:
				check.ErrorIs(t, err, driver.ErrFull, "neither lost nor refused")
				refused++
			}
		}
		t.Logf("%d granted, %d refused, %d lost, %d swept", granted, refused, lost, swept)
		check.True(t, granted > 100 && refused > 100 && lost > 100 && swept > 100, "a history that says too little")
	})
}
