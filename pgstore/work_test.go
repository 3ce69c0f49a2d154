package pgstore

import (
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/intx"
	"github.com/onceward/onceward/internal/testsvc"
)

// begin opens the work of an attempt.
func begin(t *testing.T, s *Store, id driver.ID) intx.Work[pgx.Tx] {
	t.Helper()
	w, err := engine{s}.Begin(bg, id)
	check.NoError(t, err, "Begin")
	t.Cleanup(w.Rollback)
	return w
}

func doneBy(id driver.ID, c driver.Claim, fence uint64) intx.Done {
	return intx.Done{ID: id, Claim: c, Fence: fence, Attempt: 1, Outcome: sampled}
}

// What was seen at the beginning has to be there at the end, or nothing is committed.
func TestCommitComparesWithWhatWasSeen(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL)
	rerun := claim()
	rerun.OnCrash, rerun.MaxAttempts, rerun.Lease = driver.Rerun, 5, time.Microsecond
	brief := claim()
	brief.Retain = time.Microsecond
	for name, c := range map[string]struct {
		before, between func(id driver.ID) error
	}{
		"nothing": {
			func(driver.ID) error { return nil },
			func(id driver.ID) error { // a store of another release, perhaps, that takes no lock
				_, err := s.pool.Exec(bg, s.sql["refuse"], id[:], make([]byte, 16))
				return err
			},
		},
		"an attempt that may be followed by another": {
			func(id driver.ID) error { _, err := s.Acquire(bg, id, rerun); return err },
			func(id driver.ID) error { return s.Extend(bg, id, rerun.Owner, driver.Extension{Lease: time.Minute}) },
		},
		"an attempt that was given up": {
			func(id driver.ID) error { _, err := s.Acquire(bg, id, rerun); return err },
			func(id driver.ID) error { return s.Complete(bg, id, rerun.Owner, sampled) },
		},
		"a record that is over": {
			func(id driver.ID) error { pair(t, s, id, &brief); return nil },
			func(id driver.ID) error { _, err := s.Acquire(bg, id, claim()); return err },
		},
		"a residue": {
			func(id driver.ID) error { return s.Release(bg, id, newOwner(), driver.Note{}) },
			func(id driver.ID) error { _, err := s.Acquire(bg, id, claim()); return err },
		},
	} {
		for _, meddled := range []bool{false, true} {
			id := newID()
			key := name + id.String()
			check.NoError(t, c.before(id), "%s", name)
			time.Sleep(time.Millisecond) // for what lasts a microsecond
			w := begin(t, s.Store, id)
			check.Equal(t, w.Taken(), false, "taken")
			fence := w.Seen().Fence + 1
			check.NoError(t, s.charge(bg, w.Tx(), key), "the effect")
			if meddled {
				check.NoError(t, c.between(id), "meddling with %s", name)
			}
			before, err := s.Get(bg, id)
			check.NoError(t, err, "Get")
			err = w.Commit(bg, doneBy(id, claim(), fence))
			w.Rollback()
			after, readErr := s.Get(bg, id)
			check.NoError(t, readErr, "Get")
			if meddled {
				check.True(t, errors.Is(err, intx.ErrNotCommitted) && errors.Is(err, driver.ErrLost), "Commit over %s that changed: %v", name, err)
				check.Equal(t, after.State(), before.State(), "the record after Commit over %s that changed", name)
				check.Equal(t, s.effects(t, key), 0, "effects")
				continue
			}
			check.NoError(t, err, "Commit over %s", name)
			check.Equal(t, after.Fence, fence, "the fence")
			check.Equal(t, string(after.Outcome.Bytes), string(sampled.Bytes), "the outcome")
			check.Equal(t, s.effects(t, key), 1, "effects")
		}
	}
}

// A transaction that failed cannot be committed, and COMMIT itself says so only by its tag.
func TestCommitThatAnswersRollback(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL)
	id := newID()
	w := begin(t, s.Store, id)
	_, err := w.Tx().Exec(bg, "SELECT 1 / 0")
	check.True(t, err != nil, "1 / 0")
	check.ErrorIs(t, w.Commit(bg, doneBy(id, claim(), 1)), intx.ErrNotCommitted, "Commit of what failed")

	conn, err := s.pool.Acquire(bg)
	check.NoError(t, err, "a connection")
	defer conn.Release()
	_, err = conn.Exec(bg, "BEGIN; SELECT 1 / 0")
	check.True(t, err != nil, "1 / 0")
	var batch pgx.Batch
	batch.Queue("ROLLBACK") // what COMMIT does here
	batch.Queue("ROLLBACK")
	err = commit(conn.SendBatch(bg, &batch))
	check.ErrorIs(t, err, intx.ErrNotCommitted, "a COMMIT that answers ROLLBACK")
}

func TestKilledWork(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL)
	id := newID()
	w := begin(t, s.Store, id)
	stuck := make(chan error, 1)
	go func() {
		_, err := w.Tx().Exec(bg, "SELECT pg_sleep(60)")
		stuck <- err
	}()
	w.Kill()
	check.True(t, <-stuck != nil, "a statement in a transaction that was killed succeeded")
	check.True(t, w.Commit(bg, doneBy(id, claim(), 1)) != nil, "Commit of a transaction that was killed")
	w.Rollback()
	w.Rollback()
}
