package mysqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/intx"
	"github.com/onceward/onceward/internal/testsvc"
)

// shop is a store with the table of an application beside it.
type shop struct {
	*Store

	guard *onceward.Guard
}

func newShop(t testing.TB, url string, o *Options) *shop {
	t.Helper()
	s := &shop{Store: openAt(t, url, o)}
	execute(t, s.Store, "CREATE TABLE onceward_effects (seq BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(40) NOT NULL) ENGINE = InnoDB")
	var err error
	s.guard, err = onceward.New(s.Store, nil)
	check.NoError(t, err, "guard")
	t.Cleanup(func() { check.NoError(t, s.guard.Close(bg), "closing the guard") })
	return s
}

func order(name string) onceward.Key {
	return onceward.Key{Scope: "shop", Operation: "charge", Value: name}
}

// effect is what may happen once.
func (s *shop) effect(ctx context.Context, tx *sql.Tx, name string) error {
	_, err := tx.ExecContext(ctx, s.named("INSERT INTO onceward_effects (name) VALUES (?)"), name)
	return err
}

func (s *shop) charge(name string, then func(ctx context.Context, tx *sql.Tx) error) (string, error) {
	return DoTx(bg, s.guard, s.Store, order(name), name, func(ctx context.Context, tx *sql.Tx) (string, error) {
		if err := s.effect(ctx, tx, name); err != nil {
			return "", err
		}
		if then != nil {
			return "receipt of " + name, then(ctx, tx)
		}
		return "receipt of " + name, nil
	})
}

func (s *shop) effects(t testing.TB, name string) int {
	t.Helper()
	return ask[int](t, s.Store, "SELECT COUNT(*) FROM onceward_effects WHERE name = ?", name)
}

func TestDoTx(t *testing.T) {
	server := testsvc.SharedMariaDB(t)
	for _, level := range []driver.AuditLevel{driver.AuditOff, driver.AuditTransitions} {
		s := newShop(t, server.URL, &Options{Audit: level})
		for range 3 {
			receipt, err := s.charge("a", nil)
			check.NoError(t, err, "charging")
			check.Equal(t, receipt, "receipt of a", "receipt")
		}
		check.Equal(t, s.effects(t, "a"), 1, "effects")
		r, err := s.Get(bg, order("a").ID())
		check.NoError(t, err, "Get")
		check.Equal(t, fmt.Sprint(r.State(), r.Fence, r.Attempt), "done1 1", "the record")

		sorry := errors.New("sorry")
		_, err = s.charge("b", func(context.Context, *sql.Tx) error { return sorry })
		check.ErrorIs(t, err, sorry, "a function that fails")
		check.Equal(t, s.effects(t, "b"), 0, "effects of a function that failed")
		_, err = s.charge("b", nil)
		check.NoError(t, err, "charging again")
		check.Equal(t, s.effects(t, "b"), 1, "effects of the second try")
		if level == driver.AuditOff {
			continue
		}
		id := order("a").ID()
		told, _, err := s.History(bg, driver.HistoryQuery{ID: &id})
		check.NoError(t, err, "History")
		check.Equal(t, len(told), 2, "entries")
		check.Equal(t, fmt.Sprint(told[0].Step, told[1].Step), "acquired completed", "entries")
	}
}

// Duplicates of a key whose transaction is open neither run nor wait, and leave the pool to others.
func TestManyDuplicatesOfAnOpenTransaction(t *testing.T) {
	server := testsvc.SharedMariaDB(t)
	for name, change := range map[string]func(testing.TB, *Store){"MariaDB": func(testing.TB, *Store) {}, "as on MySQL": asOnMySQL} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t, server.URL, nil)
			change(t, s.Store)
			s.db.SetMaxOpenConns(10)
			open, end := make(chan struct{}), make(chan struct{})
			var first, others sync.WaitGroup
			first.Go(func() {
				_, err := s.charge("a", func(context.Context, *sql.Tx) error {
					close(open)
					<-end
					return nil
				})
				check.NoError(t, err, "the first one")
			})
			<-open
			var refused atomic.Int64
			start := time.Now()
			for range 500 {
				others.Go(func() {
					if _, err := s.charge("a", nil); errors.Is(err, onceward.ErrInProgress) {
						refused.Add(1)
					} else {
						t.Errorf("a duplicate got %v", err)
					}
				})
			}
			others.Wait()
			took := time.Since(start)
			_, err := s.charge("b", nil)
			check.NoError(t, err, "another key")
			close(end)
			first.Wait()
			t.Logf("500 duplicates took %v", took)
			check.Equal(t, refused.Load(), 500, "duplicates that were told of the first one")
			check.Equal(t, s.effects(t, "a"), 1, "effects")
		})
	}
}

// Keys whose rows are neighbours are in nobody's way.
func TestAdjacentKeys(t *testing.T) {
	server := testsvc.SharedMariaDB(t)
	s := newShop(t, server.URL, &Options{Audit: driver.AuditTransitions})
	e := engine{s.Store}
	base := newID()
	for range 5 {
		binary.BigEndian.PutUint64(base[16:], binary.BigEndian.Uint64(base[16:])+1)
		var all sync.WaitGroup
		start := make(chan struct{})
		for n := range 64 {
			id, c := base, claim()
			id[31] = byte(n)
			all.Go(func() {
				<-start
				w, err := e.Begin(bg, id)
				check.NoError(t, err, "Begin")
				defer w.Rollback()
				check.NoError(t, s.effect(bg, w.Tx(), "adjacent"), "effect")
				check.NoError(t, w.Commit(bg, intx.Done{ID: id, Claim: c, Fence: 1, Attempt: 1, Outcome: sampled}), "Commit")
			})
			all.Go(func() { // and of others, without a transaction around them
				<-start
				other := id
				other[30]++
				pair(t, s.Store, other, &c)
			})
		}
		close(start)
		all.Wait()
	}
	check.Equal(t, s.effects(t, "adjacent"), 5*64, "effects")
}

// Two functions that deadlock with each other are both done in the end, each once, also if they do not mind the error.
func TestDeadlockIsDoneAgain(t *testing.T) {
	for _, known := range []string{"new", "released"} {
		for _, ignored := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, ignored: %t", known, ignored), func(t *testing.T) { doneAgain(t, freeKeys[known], ignored) })
		}
	}
}

func doneAgain(t *testing.T, known freeKey, ignored bool) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	execute(t, s.Store, "CREATE TABLE onceward_stock (item INT PRIMARY KEY, left_over INT) ENGINE = InnoDB")
	execute(t, s.Store, "INSERT INTO onceward_stock VALUES (1, 100), (2, 100)")
	var tries atomic.Int64
	var both sync.WaitGroup
	var met sync.WaitGroup
	met.Add(2)
	for _, items := range [][2]int{{1, 2}, {2, 1}} {
		known.make(t, s, fmt.Sprint(items))
		both.Go(func() {
			once := sync.OnceFunc(func() { met.Done(); met.Wait() })
			_, err := s.charge(fmt.Sprint(items), func(ctx context.Context, tx *sql.Tx) error {
				tries.Add(1)
				for _, item := range items {
					_, err := tx.ExecContext(ctx, s.named("UPDATE onceward_stock SET left_over = left_over - 1 WHERE item = ?"), item)
					if err != nil && !ignored {
						return fmt.Errorf("taking an item: %w", err)
					}
					once()
				}
				return nil
			})
			check.NoError(t, err, "an order of two items")
		})
	}
	both.Wait()
	check.Equal(t, tries.Load(), 3, "runs of both functions")
	check.Equal(t, ask[int](t, s.Store, "SELECT SUM(left_over) FROM onceward_stock"), 196, "what is left")
	check.Equal(t, s.effects(t, "[1 2]")+s.effects(t, "[2 1]"), 2, "effects")
}

// COMMIT arrives and its reply does not. What happened is found out, and everybody is told the same.
func TestLostReplyToCommit(t *testing.T) {
	server := testsvc.SharedMariaDB(t)
	proxy := testsvc.NewProxy(t, server.Addr)
	plain := newShop(t, server.URL, nil)
	for _, arrives := range []bool{true, false} {
		s := &shop{Store: openThrough(t, proxy, server, plain.prefix)}
		var err error
		s.guard, err = onceward.New(s.Store, nil)
		check.NoError(t, err, "guard")
		for n := range 10 {
			proxy.Fault(func(c testsvc.Chunk) testsvc.Action {
				switch {
				case !c.Request || !bytes.HasSuffix(c.Bytes, []byte("\x03COMMIT")):
					return testsvc.Action{}
				case arrives:
					return testsvc.Action{Kind: testsvc.DropReply}
				default:
					return testsvc.Action{Kind: testsvc.Cut}
				}
			})
			name := fmt.Sprint("order ", n, arrives)
			receipt, err := s.charge(name, nil)
			check.Equal(t, err == nil, arrives, "whether the order is known to have happened: %v", err)
			proxied := receipt
			proxy.Fault(nil)
			receipt, err = plain.charge(name, nil)
			check.NoError(t, err, "asking again")
			check.True(t, !arrives || receipt == proxied, "two answers: %q and %q", proxied, receipt)
			check.Equal(t, s.effects(t, name), 1, "effects")
		}
		check.NoError(t, s.guard.Close(bg), "closing the guard")
	}
}

// A statement that changes tables commits what was done before it. The outcome is stored all the same.
func TestFunctionThatCommits(t *testing.T) {
	s := newShop(t, testsvc.SharedMariaDB(t).URL, nil)
	for name, end := range map[string]func(ctx context.Context, tx *sql.Tx) error{
		"DDL": func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, s.named("CREATE TABLE onceward_other (id INT)"))
			return err
		},
		"Commit": func(_ context.Context, tx *sql.Tx) error { return tx.Commit() },
	} {
		_, err := s.charge(name, end)
		check.NoError(t, err, "a function that commits by %s", name)
		receipt, err := s.charge(name, nil)
		check.NoError(t, err, "asking again")
		check.Equal(t, receipt, "receipt of "+name, "the replay")
		check.Equal(t, s.effects(t, name), 1, "effects")
	}
	_, err := s.charge("Rollback", func(_ context.Context, tx *sql.Tx) error { return tx.Rollback() })
	check.ErrorIs(t, err, onceward.ErrUnavailable, "a function that rolls back by itself")
	check.Equal(t, s.effects(t, "Rollback"), 0, "effects")
}

func TestConflicts(t *testing.T) {
	e := engine{}
	for n, want := range map[uint16]bool{deadlock: true, rowChanged: true, lockTimeout: false, duplicate: false} {
		err := fmt.Errorf("charging: %w", &mysql.MySQLError{Number: n})
		check.Equal(t, e.Conflict(err), want, "error %d", n)
	}
	check.Equal(t, strings.Contains(notCommitted(driver.ErrLost).Error(), "rolled back"), true, "what is said")
}
