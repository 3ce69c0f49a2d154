package mysqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// freeKey is what there may be of a key that is free.
type freeKey struct {
	make  func(t testing.TB, s *shop, name string)
	fence uint64 // that is taken already
}

var freeKeys = map[string]freeKey{
	"new": {func(testing.TB, *shop, string) {}, 0},
	"released": {func(t testing.TB, s *shop, name string) {
		id, c := order(name).ID(), claim()
		acquire(t, s.Store, id, c, driver.Acquired)
		check.NoError(t, s.Release(bg, id, c.Owner, driver.Note{}), "Release")
	}, 1},
	"expired": {func(t testing.TB, s *shop, name string) {
		id, c := order(name).ID(), claim()
		pair(t, s.Store, id, &c)
		execute(t, s.Store, "UPDATE onceward_records SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY WHERE id = ?", id[:])
	}, 1},
	"abandoned": {func(t testing.TB, s *shop, name string) {
		input, err := onceward.FingerprintJSON([]byte(`"` + name + `"`))
		check.NoError(t, err, "fingerprint")
		id, c := order(name).ID(), claim()
		c.Fingerprint, c.OnCrash, c.MaxAttempts = input, driver.Rerun, 9
		acquire(t, s.Store, id, c, driver.Acquired)
		check.NoError(t, s.Extend(bg, id, c.Owner, driver.Extension{}), "giving up")
	}, 1},
}

// Whoever ends the transaction before its time, the server included: what it committed has its outcome, and what it rolled back
// is done again.
func TestTransactionThatEndedBefore(t *testing.T) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	send := func(word string) func(context.Context, *sql.Tx) error {
		return func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, word)
			return err
		}
	}
	for _, c := range []struct {
		how   string
		end   func(context.Context, *sql.Tx) error
		turns int
	}{
		{"a COMMIT", send("COMMIT"), 1},
		{"Commit", func(_ context.Context, tx *sql.Tx) error { return tx.Commit() }, 1},
		{"a ROLLBACK", send("ROLLBACK"), 2},
	} {
		for known, state := range freeKeys {
			name := c.how + " of a key that is " + known
			state.make(t, s, name)
			turns := 0
			_, err := s.charge(name, func(ctx context.Context, tx *sql.Tx) error {
				if turns++; turns > 1 {
					return nil
				}
				err := c.end(ctx, tx)
				id := order(name).ID()
				fence := ask[uint64](t, s.Store, "SELECT COALESCE(MAX(fence), 0) FROM onceward_records WHERE id = ?", id[:])
				check.Equal(t, fence, state.fence, "the fence that a crash would leave after %s", name)
				return err
			})
			check.NoError(t, err, "%s", name)
			check.Equal(t, turns, c.turns, "turns of %s", name)
			receipt, err := s.charge(name, nil)
			check.NoError(t, err, "a duplicate of %s", name)
			check.Equal(t, receipt, "receipt of "+name, "the replay")
			check.Equal(t, s.effects(t, name), 1, "effects of %s", name)
			r, err := s.Get(bg, order(name).ID())
			check.NoError(t, err, "Get")
			check.Equal(t, r.Fence, state.fence+1, "the fence of %s", name)
		}
	}
}

// Until the commit, and after a rollback, a key is what it was: its last owner and its fence stay known.
func TestPlaceIsSeenByNobody(t *testing.T) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	sorry := errors.New("sorry")
	for known, state := range freeKeys {
		state.make(t, s, known)
		id := order(known).ID()
		row := func() string {
			return ask[string](t, s.Store, "SELECT CONCAT(COUNT(*), COALESCE(GROUP_CONCAT(phase, ' ', fence, HEX(owner), given_up, "+
				"begun_at, lease_until, expires_at, HEX(outcome)), '')) FROM onceward_records WHERE id = ?", id[:])
		}
		before := row()
		_, err := s.charge(known, func(context.Context, *sql.Tx) error {
			check.Equal(t, row(), before, "a key that is %s, in a transaction", known)
			return sorry
		})
		check.ErrorIs(t, err, sorry, "a function that fails")
		check.Equal(t, row(), before, "a key that is %s, after a rollback", known)
	}
}

// A key that is done since it was seen free is read again.
func TestKeyThatIsDoneMeanwhile(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	id, c := newID(), claim()
	pair(t, s, id, &c)
	_, err := engine{s}.open(bg, id, true)
	check.ErrorIs(t, err, errAgain, "taking a key that is done")
}

// Whoever held the key lets go of it when the others have been told so. Where that undid their transaction, what they did next would
// be committed by itself.
func TestKeyThatIsLetGo(t *testing.T) {
	for _, setting := range []string{"innodb_rollback_on_timeout = OFF", "innodb_rollback_on_timeout = ON"} {
		server := testsvc.MariaDB(t, setting)
		direct := newShop(t, server.URL, nil)
		proxy := testsvc.NewProxy(t, server.Addr)
		s := &shop{Store: openThrough(t, proxy, server, direct.prefix), guard: direct.guard}
		first, err := engine{direct.Store}.Begin(bg, order("a").ID())
		check.NoError(t, err, "the first one")
		refused := 0
		proxy.Fault(func(c testsvc.Chunk) testsvc.Action {
			if !c.Request && bytes.Contains(c.Bytes, []byte("Lock wait timeout exceeded")) {
				refused++
				first.Rollback()
			}
			return testsvc.Action{}
		})
		_, err = s.charge("a", func(ctx context.Context, tx *sql.Tx) error {
			var inside bool
			check.NoError(t, tx.QueryRowContext(ctx, "SELECT @@in_transaction").Scan(&inside), "asking")
			check.True(t, inside, "with %s the function runs outside of its transaction", setting)
			return nil
		})
		check.Equal(t, refused, 1, "times that the second one was refused")
		check.True(t, err == nil || errors.Is(err, onceward.ErrInProgress), "with %s the second one: %v", setting, err)
		_, err = direct.charge("a", nil)
		check.NoError(t, err, "asking again")
		check.Equal(t, s.effects(t, "a"), 1, "effects")
	}
}
