package mysqlstore

import (
	"context"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// A sweep passes over what somebody's transaction holds, and has then held nothing either: while it waited, every other row of
// its statement would be one that nobody can have.
func TestSweepPassesOverWhatIsHeld(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	const held = sweepStep + 1
	for range held + 2 {
		c := claim()
		pair(t, s, newID(), &c)
	}
	// The two last ones in the order of a sweep are free: it has to come past more than a statement's worth.
	execute(t, s, "UPDATE onceward_records SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE")
	execute(t, s, "UPDATE onceward_records SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 HOUR ORDER BY id LIMIT ?", held)
	tx, err := s.db.BeginTx(bg, readCommitted)
	check.NoError(t, err, "a transaction")
	defer func() { _ = tx.Rollback() }()
	locked, err := column[[]byte](bg, tx, s.named("SELECT id FROM onceward_records ORDER BY id LIMIT ? FOR UPDATE"), held)
	check.NoError(t, err, "holding rows")
	check.Equal(t, len(locked), held, "rows that are held")

	ctx, cancel := context.WithTimeout(bg, 20*time.Second)
	defer cancel()
	sweep := func(want int, what string) {
		t.Helper()
		removed, err := s.Sweep(ctx, 1000)
		check.NoError(t, err, "Sweep of %s", what)
		check.Equal(t, removed, want, "records removed of %s", what)
	}
	sweep(2, "those that are free")
	check.NoError(t, tx.Rollback(), "letting go")
	tx, err = s.db.BeginTx(bg, nil)
	check.NoError(t, err, "a transaction")
	defer func() { _ = tx.Rollback() }()
	acquire(t, s.Tx(tx), newID(), claim(), driver.Acquired) // by somebody who has nothing to do with what is over
	sweep(held, "those that were held")
}

// What is acquired after a sweep has looked is not over any more.
func TestSweepLooksAgain(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	id, c := newID(), claim()
	pair(t, s, id, &c)
	removed, err := s.remove(bg, []any{id[:]})
	check.NoError(t, err, "removing what is not over")
	check.Equal(t, removed, 0, "records removed")
	acquire(t, s, id, claim(), driver.Done)
}
