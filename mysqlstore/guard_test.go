package mysqlstore

import (
	"context"
	"database/sql"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// Who has nothing to commit is told to ask again, at once, and nothing goes on in the background.
func TestGuardOfAnAbortedTransaction(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).Database().URL, nil)
	for name, end := range map[string]func(a *onceward.Attempt) error{
		"Complete": func(a *onceward.Attempt) error { return a.Complete([]byte("paid")) },
		"Release":  func(a *onceward.Attempt) error { return a.Release("it failed") },
		"Doubt":    func(a *onceward.Attempt) error { return a.Doubt("it failed") },
	} {
		guard, err := onceward.New(s, &onceward.Options{Logger: quiet})
		check.NoError(t, err, "a guard")
		tx, err := s.db.BeginTx(bg, nil)
		check.NoError(t, err, "Begin of a transaction")
		key := onceward.Key{Scope: "s", Operation: "pay", Value: name}
		a, err := guard.With(s.Tx(tx)).Begin(bg, key, nil, onceward.Fingerprint{Algorithm: "a", Sum: "b"})
		check.NoError(t, err, "Begin")
		check.NoError(t, tx.Rollback(), "the user gives up")
		err = end(a)
		check.ErrorIs(t, err, onceward.ErrUnavailable, "%s", name)
		check.ErrorIs(t, err, onceward.ErrLeaseLost, "%s", name)
		check.ErrorIs(t, tx.Commit(), sql.ErrTxDone, "Commit after %s", name)
		left, cancel := context.WithCancel(bg)
		cancel()
		check.NoError(t, guard.Close(left), "Close: nothing may be owed after %s", name)
		r, err := s.Get(bg, key.ID())
		check.NoError(t, err, "Get")
		check.Equal(t, r.State(), "absent", "the key after %s", name)
	}
}
