package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// A COMMIT whose reply is lost, or that never arrives, is settled by the record.
func TestLostCommits(t *testing.T) {
	const keys = 120
	server := testsvc.Postgres(t)
	direct := openShop(t, server.URL)
	proxy := testsvc.NewProxy(t, server.Addr)
	url := strings.Replace(server.URL, server.Addr, proxy.Addr, 1) + "&default_query_exec_mode=exec" // the proxy has to see COMMIT
	s := newShop(t, openAt(t, url, &Options{Schema: direct.schema}))
	proxy.Fault(func(c testsvc.Chunk) testsvc.Action {
		if !c.Request || !bytes.Contains(c.Bytes, []byte("COMMIT")) {
			return testsvc.Action{}
		}
		switch chance := c.Chance(3); {
		case chance < 0.3:
			return testsvc.Action{Kind: testsvc.DropReply}
		case chance < 0.5:
			return testsvc.Action{Kind: testsvc.Cut}
		default:
			return testsvc.Action{}
		}
	})
	var refused atomic.Int64
	var all sync.WaitGroup
	for caller := range 8 {
		all.Go(func() {
			for i := range keys / 8 {
				chargeUntilTold(t, s, direct, fmt.Sprintf("%d-%d", caller, i), &refused)
			}
		})
	}
	all.Wait()
	lost, cut := proxy.Count(testsvc.DropReply), proxy.Count(testsvc.Cut)
	t.Logf("%d keys: %d replies to COMMIT lost, %d COMMITs that never arrived, %d times the caller asked again",
		keys, lost, cut, refused.Load())
	check.True(t, lost > keys/6 && cut > keys/12, "too few faults to prove anything")
}

// chargeUntilTold asks again as a client does, and counts how often.
func chargeUntilTold(t *testing.T, s, direct *shop, key string, refused *atomic.Int64) {
	run := func() (string, error) {
		return DoTx(bg, s.guard, s.Store, s.key(key), key, func(ctx context.Context, tx pgx.Tx) (string, error) {
			return "paid " + key, s.charge(ctx, tx, key)
		})
	}
	out, err := run()
	if n := direct.effects(t, key); err == nil && n != 1 || n > 1 {
		t.Errorf("%d effects, and the caller was told %v", n, err)
	}
	for ; err != nil; out, err = run() {
		refused.Add(1)
		// In progress: the server has not noticed yet that the connection of the first is gone.
		if !errors.Is(err, onceward.ErrUnavailable) && !errors.Is(err, onceward.ErrInProgress) {
			t.Errorf("a caller was told %v", err)
			return
		}
	}
	if n := direct.effects(t, key); n != 1 || out != "paid "+key {
		t.Errorf("%d effects and the result %q in the end", n, out)
	}
}

func TestDoTx(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL)
	for range 3 {
		out, err := DoTx(bg, s.guard, s.Store, s.key("k"), "input", func(ctx context.Context, tx pgx.Tx) (string, error) {
			check.ErrorIs(t, tx.Commit(ctx), errNotYours, "Commit by the function")
			check.ErrorIs(t, tx.Rollback(ctx), errNotYours, "Rollback by the function")
			inner, err := tx.Begin(ctx)
			check.NoError(t, err, "a savepoint")
			check.NoError(t, s.charge(ctx, inner, "undone"), "an effect that is undone")
			check.NoError(t, inner.Rollback(ctx), "back to the savepoint")
			return "paid", s.charge(ctx, tx, "k")
		})
		check.NoError(t, err, "DoTx")
		check.Equal(t, out, "paid", "the result")
	}
	check.Equal(t, s.effects(t, "k"), 1, "effects")
	check.Equal(t, s.effects(t, "undone"), 0, "effects before the savepoint was left")

	declined := errors.New("declined")
	for range 2 {
		_, err := DoTx(bg, s.guard, s.Store, s.key("declined"), "input", func(ctx context.Context, tx pgx.Tx) (string, error) {
			return "", errors.Join(s.charge(ctx, tx, "declined"), declined)
		})
		check.ErrorIs(t, err, declined, "DoTx")
	}
	check.Equal(t, s.effects(t, "declined"), 0, "effects")

	// A function that passes over an error of the database has nothing to commit.
	_, err := DoTx(bg, s.guard, s.Store, s.key("aborted"), "input", func(ctx context.Context, tx pgx.Tx) (string, error) {
		check.NoError(t, s.charge(ctx, tx, "aborted"), "the effect")
		_, err := tx.Exec(ctx, "SELECT 1 / 0")
		check.True(t, err != nil, "1 / 0")
		return "paid", nil
	})
	check.True(t, err != nil, "DoTx of an aborted transaction succeeded")
	check.Equal(t, s.effects(t, "aborted"), 0, "effects")
	var kept pgx.Tx
	_, err = DoTx(bg, s.guard, s.Store, s.key("kept"), "input", func(_ context.Context, tx pgx.Tx) (string, error) {
		kept = tx
		return "", nil
	})
	check.NoError(t, err, "DoTx")
	_, err = kept.Exec(bg, "SELECT 1")
	check.ErrorIs(t, err, pgx.ErrTxClosed, "a transaction that was kept")
}

// Of 500 that come while the first has not committed all others are told so at once, with ten connections.
func TestDuplicatesDoNotWait(t *testing.T) {
	s := openShop(t, testsvc.SharedPostgres(t).Database().URL+"&pool_max_conns=10")
	entered, leave := make(chan bool), make(chan bool)
	run := func(ctx context.Context, tx pgx.Tx) (string, error) {
		close(entered) // panics for a second one
		<-leave
		return "paid", s.charge(ctx, tx, "k")
	}
	first := make(chan error, 1)
	go func() {
		_, err := DoTx(bg, s.guard, s.Store, s.key("k"), 1, run)
		first <- err
	}()
	<-entered
	var all sync.WaitGroup
	start := time.Now()
	for range 500 {
		all.Go(func() {
			_, err := DoTx(bg, s.guard, s.Store, s.key("k"), 1, run)
			if !errors.Is(err, onceward.ErrInProgress) {
				t.Errorf("a duplicate was told %v", err)
			}
		})
	}
	all.Wait()
	t.Logf("500 duplicates took %v", time.Since(start))
	_, err := DoTx(bg, s.guard, s.Store, s.key("another"), 1, func(ctx context.Context, tx pgx.Tx) (string, error) {
		return "", s.charge(ctx, tx, "another")
	})
	check.NoError(t, err, "another key meanwhile")
	close(leave)
	check.NoError(t, <-first, "the first")
	check.Equal(t, s.effects(t, "k"), 1, "effects")
}

// Keys that are neighbours in the index, and effects that meet, are tried again by DoTx and not by its caller.
func TestConflictsAreTriedAgain(t *testing.T) {
	server := testsvc.Postgres(t, "deadlock_timeout = 5ms")
	plain := openShop(t, server.URL)
	execute(t, plain.Store, "CREATE TABLE onceward.accounts AS SELECT n AS id, 0 AS total FROM generate_series(0, 1) n")
	for _, level := range []string{"read%20committed", "serializable"} {
		s := newShop(t, openAt(t, server.URL+"&pool_max_conns=20&default_transaction_isolation="+level, &Options{Schema: plain.schema}))
		var all sync.WaitGroup
		runs := make(chan bool, 10_000)
		for i := range 64 {
			all.Go(func() {
				key := level + strings.Repeat("x", i)
				_, err := DoTx(bg, s.guard, s.Store, s.key(key), i, func(ctx context.Context, tx pgx.Tx) (int, error) {
					runs <- true
					for _, id := range []int{i % 2, 1 - i%2} { // in both orders, for a deadlock
						_, err := tx.Exec(ctx, inSchema("UPDATE onceward.accounts SET total = total + 1 WHERE id = $1", s.schema), id)
						if err != nil {
							return 0, err
						}
					}
					return 0, s.charge(ctx, tx, key)
				})
				if err != nil && !errors.Is(err, onceward.ErrUnavailable) {
					t.Errorf("a caller was told %v", err)
				}
				if n := s.effects(t, key); n > 1 || n == 1 != (err == nil) {
					t.Errorf("%d effects, and the caller was told %v", n, err)
				}
			})
		}
		all.Wait()
		check.True(t, len(runs) > 64, "with %s nothing was tried again, which proves nothing", level)
		t.Logf("%s: %d runs of 64 keys", level, len(runs))
	}
}
