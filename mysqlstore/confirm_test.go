package mysqlstore

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// doneFor makes it so long ago that a record was done.
func doneFor(t testing.TB, s *Store, id driver.ID, ago time.Duration) {
	t.Helper()
	const text = "UPDATE onceward_records SET begun_at = UTC_TIMESTAMP(6) - INTERVAL ? MICROSECOND WHERE id = ?"
	execute(t, s, text, ago.Microseconds(), id[:])
}

// ahead is for what has to be young however slow the machine is: as if the server's clock had been set back.
const ahead = -time.Hour

// held keeps the row of a key locked until release.
func held(t testing.TB, s *Store, id driver.ID) (release func()) {
	t.Helper()
	tx, err := s.db.BeginTx(bg, nil)
	check.NoError(t, err, "a transaction")
	var phase int
	err = tx.QueryRowContext(bg, s.named("SELECT phase FROM onceward_records WHERE id = ? FOR UPDATE"), id[:]).Scan(&phase)
	check.NoError(t, err, "holding a row")
	return func() { _ = tx.Rollback() }
}

// What is told of a young outcome comes after a later commit, which brings the outcome to the disk with its own log. What is told
// of an old one comes after one read.
func TestYoungOutcomeIsConfirmed(t *testing.T) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	_, err := s.charge("a", nil)
	check.NoError(t, err, "charging")
	id := order("a").ID()
	commits := func() int64 {
		return ask[int64](t, s.Store, "SELECT TIMESTAMPDIFF(MICROSECOND, expires_at, lease_until) FROM onceward_records WHERE id = ?", id[:])
	}
	calls := map[string]func(){
		"Acquire": func() {
			_, err := s.Acquire(bg, id, claim())
			check.NoError(t, err, "Acquire")
		},
		"Get": func() {
			r, err := s.Get(bg, id)
			check.NoError(t, err, "Get")
			check.Equal(t, r.State(), "done", "the record")
		},
		"DoTx": func() {
			receipt, err := s.charge("a", nil)
			check.NoError(t, err, "a duplicate")
			check.Equal(t, receipt, "receipt of a", "the replay")
		},
		"Lookup of transactions": func() {
			r, err := s.transactions.Get(bg, id)
			check.NoError(t, err, "Get")
			check.Equal(t, r.State(), "done", "the record")
		},
	}
	doneFor(t, s.Store, id, ahead)
	for name, call := range calls {
		before := commits()
		call()
		check.Equal(t, commits()-before, 1, "commits before %s told of a young outcome", name)
	}
	doneFor(t, s.Store, id, settled)
	for name, call := range calls {
		before := commits()
		call()
		check.Equal(t, commits()-before, 0, "commits before %s told of an old outcome", name)
	}
}

// The same where a transition finds the outcome although nobody had seen it before.
func TestOutcomeThatATransitionFindsIsConfirmed(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	id, c := newID(), claim()
	pair(t, s, id, &c)
	lease := func() string {
		return ask[string](t, s, "SELECT lease_until FROM onceward_records WHERE id = ?", id[:])
	}
	before := lease()
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "a Complete that is repeated")
	check.True(t, lease() != before, "a Complete that was repeated has not confirmed the first one")
	before = lease()
	var g driver.Grant
	err := s.inTx(bg, func(v verbs) (err error) {
		g, err = v.acquire(bg, id, &c)
		return err
	})
	check.NoError(t, err, "an Acquire that holds the row")
	check.Equal(t, g.Verdict, driver.Done, "its verdict")
	check.True(t, lease() != before, "an Acquire that found the key done has not confirmed it")
}

// Without the confirmation there is no answer, and the caller may ask again.
func TestUnconfirmedOutcomeIsNotTold(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	id, c := newID(), claim()
	pair(t, s, id, &c)
	doneFor(t, s, id, ahead)
	release := held(t, s, id)
	ctx, cancel := context.WithTimeout(bg, 200*time.Millisecond)
	defer cancel()
	r, err := s.Get(ctx, id)
	check.ErrorIs(t, err, driver.ErrUnavailable, "Get of an outcome that cannot be confirmed")
	check.Equal(t, r.State(), "absent", "what is told of it")
	release()
	r, err = s.Get(bg, id)
	check.NoError(t, err, "Get")
	check.Equal(t, string(r.Outcome.Bytes), string(sampled.Bytes), "the outcome")

	doneFor(t, s, id, settled)
	defer held(t, s, id)()
	_, err = s.Get(bg, id)
	check.NoError(t, err, "Get of an old one whose row is held")
}

// Somebody may have changed the record since it was read.
func TestConfirmationOfAnotherRecord(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	id, c := newID(), claim()
	pair(t, s, id, &c)
	r, err := s.session().row(bg, s.stmt.read, id)
	check.NoError(t, err, "reading")
	confirmed := func(r row) bool {
		ok, err := s.session().confirm(bg, &r)
		check.NoError(t, err, "confirming")
		return ok
	}
	for range 2 {
		check.True(t, confirmed(*r), "what was read is not confirmed, twice at the same moment")
	}
	other := *r
	other.Fence++
	check.True(t, !confirmed(other), "another fence is confirmed")
	other = *r
	other.owner = newOwner()
	check.True(t, !confirmed(other), "another owner is confirmed")
	execute(t, s, "UPDATE onceward_records SET phase = 0 WHERE id = ?", id[:])
	check.True(t, !confirmed(*r), "a residue is confirmed")
}

// A caller that confirms holds the row for a moment, and duplicates that come then are replayed all the same.
func TestReplayOfAKeyThatIsHeld(t *testing.T) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	_, err := s.charge("a", nil)
	check.NoError(t, err, "charging")
	doneFor(t, s.Store, order("a").ID(), settled)
	defer held(t, s.Store, order("a").ID())()
	receipt, err := s.charge("a", func(context.Context, *sql.Tx) error { return errors.New("it ran again") })
	check.NoError(t, err, "a duplicate")
	check.Equal(t, receipt, "receipt of a", "the replay")
}
