package pgstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/faults"
	"github.com/onceward/onceward/internal/testsvc"
)

// every makes each call of the contract and returns the errors by name.
func every(s driver.Store, id driver.ID, c driver.Claim) map[string]error {
	_, acquired := s.Acquire(bg, id, c)
	_, got := s.Get(bg, id)
	return map[string]error{
		"Acquire": acquired, "Get": got,
		"Extend":   s.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}),
		"Complete": s.Complete(bg, id, c.Owner, sampled),
		"Release":  s.Release(bg, id, c.Owner, driver.Note{}),
		"Resolve":  s.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true}),
	}
}

// What a later version or damage left in a row is neither absent nor touched.
func TestUnreadableRows(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, nil)
	for name, damage := range map[string]string{
		"a later version": "UPDATE onceward.records SET version = 2, expires_at = now() - interval '1 day' WHERE id = $1",
		"another outcome": "UPDATE onceward.records SET outcome = 'of somebody else' WHERE id = $1",
	} {
		id, c := newID(), claim()
		pair(t, s, id, &c)
		execute(t, s, damage, id[:])
		before := ask[string](t, s, "SELECT r::text FROM onceward.records r WHERE id = $1", id[:])
		for call, err := range every(s, id, c) {
			if name == "another outcome" && call == "Resolve" {
				check.NoError(t, err, "Resolve by force of a damaged record")
				continue
			}
			check.ErrorIs(t, err, driver.ErrUndecodable, "%s on %s", call, name)
		}
		if name == "another outcome" {
			continue // it has been resolved
		}
		_, err := s.Sweep(bg, 10)
		check.NoError(t, err, "Sweep")
		after := ask[string](t, s, "SELECT r::text FROM onceward.records r WHERE id = $1", id[:])
		check.Equal(t, after, before, "%s afterwards", name)
	}
}

// A residue lasts for two leases, for which the suite cannot wait.
func TestResidueLastsForTwoLeases(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, nil)
	for lease, want := range map[time.Duration]float64{time.Second: 60, 10 * time.Minute: 20 * 60} {
		id, c := newID(), claim()
		c.Lease = lease
		_, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
		check.NoError(t, s.Extend(bg, id, c.Owner, driver.Extension{}), "giving up")
		check.NoError(t, s.Release(bg, id, c.Owner, driver.Note{}), "Release")
		left := ask[float64](t, s, "SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 FROM onceward.records WHERE id = $1", id[:])
		check.True(t, left > want-30 && left <= want, "the residue of a lease of %v is kept for %v s more", lease, left)
	}
}

// Whoever only asks writes nothing, not even a lock.
func TestReplaysWriteNoWAL(t *testing.T) {
	server := testsvc.Postgres(t, "autovacuum = off", "bgwriter_lru_maxpages = 0", "checkpoint_timeout = 1h")
	s := openAt(t, server.URL, nil)
	done, running, c := newID(), newID(), claim()
	pair(t, s, done, &c)
	_, err := s.Acquire(bg, running, c)
	check.NoError(t, err, "Acquire")
	for id, want := range map[driver.ID]driver.Verdict{done: driver.Done, running: driver.Running} {
		other := claim()
		replay := func() {
			g, err := s.Acquire(bg, id, other)
			check.NoError(t, err, "Acquire")
			check.Equal(t, g.Verdict, want, "the verdict")
		}
		replay() // the first reader after a commit may set hint bits
		before := ask[string](t, s, "SELECT pg_current_wal_insert_lsn()::text")
		for range 1000 {
			replay()
		}
		// PostgreSQL itself tells standbys every 15 seconds which transactions run.
		written := ask[int](t, s, "SELECT (pg_current_wal_insert_lsn() - $1::text::pg_lsn)::bigint", before)
		check.True(t, written < 1000, "1000 times %v wrote %d bytes of WAL", want, written)
	}
}

// What PostgreSQL refuses, the caller may take for refused.
func TestRefusals(t *testing.T) {
	server := testsvc.Postgres(t)
	s := openAt(t, server.URL, nil)
	id, c := newID(), claim()
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	refused := func(hint string) {
		t.Helper()
		for call, err := range every(s, id, c) {
			check.ErrorIs(t, err, driver.ErrUnavailable, "%s", call)
			check.True(t, !errors.Is(err, driver.ErrFull) && !errors.Is(err, driver.ErrUndecodable), "%s: %v", call, err)
			check.True(t, strings.Contains(err.Error(), hint), "%s: %q does not say %q", call, err, hint)
		}
	}
	execute(t, s, "ALTER TABLE onceward.records RENAME TO elsewhere")
	refused("onceward migrate up")
	execute(t, s, "ALTER TABLE onceward.elsewhere RENAME TO records")
	server.Stop()
	_, err = s.Get(bg, id) // the first call finds the connection broken
	check.True(t, err != nil, "Get from a server that is down")
	refused("no connection")
	_, err = Open(server.URL, &Options{Logger: quiet})
	check.ErrorIs(t, err, driver.ErrUnavailable, "opening a server that is down")
	server.Restart()
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete when all is well again")
}

// A silent server has perhaps done what it was asked.
func TestSilenceIsUnknown(t *testing.T) {
	server := testsvc.Postgres(t)
	s := openAt(t, server.URL, nil)
	_, err := s.Get(bg, newID())
	check.NoError(t, err, "Get")
	server.Pause()
	ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
	defer cancel()
	_, err = s.Acquire(ctx, newID(), claim())
	server.Resume()
	check.True(t, err != nil && !errors.Is(err, driver.ErrUnavailable), "Acquire on a silent server: %v", err)
}

// Isolation is the database's default for our statements too. It decides nothing, but it makes conflicts.
func TestOtherIsolationLevels(t *testing.T) {
	server := testsvc.SharedPostgres(t).Database()
	plain := openAt(t, server.URL, nil)
	for _, level := range []string{"repeatable%20read", "serializable"} {
		s := openAt(t, server.URL+"&default_transaction_isolation="+level, &Options{Schema: plain.schema})
		l := faults.NewLoad(s, 300)
		ctx, cancel := context.WithTimeout(bg, time.Second)
		l.Run(ctx, 16)
		cancel()
		got := l.Audit(t, plain)
		check.True(t, got.Ran > 50, "only %d keys ran", got.Ran)
		id, c := newID(), claim()
		_, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 10 {
					if err := s.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}); err != nil {
						t.Errorf("one of many signs of life at once: %v", err)
					}
				}
			})
		}
		all.Wait()
	}
}

// A transaction that holds a key without having written is not waited for.
func TestTransactionIsNotWaitedFor(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, nil)
	id := newID()
	tx, err := s.pool.Begin(bg)
	check.NoError(t, err, "Begin")
	defer func() { _ = tx.Rollback(bg) }()
	_, err = tx.Exec(bg, "SELECT pg_advisory_xact_lock($1)", s.lockOf(id))
	check.NoError(t, err, "locking")
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	g, err := s.Acquire(ctx, id, claim())
	check.NoError(t, err, "Acquire")
	check.Equal(t, g.Verdict, driver.Running, "the verdict")
	check.NoError(t, tx.Commit(bg), "Commit")
	g, err = s.Acquire(ctx, id, claim())
	check.NoError(t, err, "Acquire")
	check.Equal(t, g.Verdict, driver.Acquired, "the verdict afterwards")
}

// People read the table by its view.
func TestViewForPeople(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, nil)
	done, doubtful, released, c := newID(), newID(), newID(), claim()
	c.Labels.Operation, c.Labels.KeyHint = "POST /käse", "\x00\xff"
	pair(t, s, done, &c)
	for _, id := range []driver.ID{doubtful, released} {
		_, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
	}
	check.NoError(t, s.Extend(bg, doubtful, c.Owner, driver.Extension{}), "giving up")
	check.NoError(t, s.Release(bg, released, c.Owner, driver.Note{}), "Release")
	rows, err := s.pool.Query(bg, inSchema("SELECT id || ' ' || state || ' ' || operation FROM onceward.keys ORDER BY state", s.schema))
	check.NoError(t, err, "reading the view")
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	check.NoError(t, err, "reading the view")
	check.Equal(t, lines, []string{done.String() + ` done POST /k\303\244se`, doubtful.String() + ` in-doubt POST /k\303\244se`}, "the view")
}

// Many at once are one statement: one who leaves, one whose outcome is large and one who is lost do not spoil it for the others.
func TestOneDoesNotSpoilTheOthers(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, nil)
	execute(t, s, "ALTER TABLE onceward.records ADD CHECK (outcome <> 'refused')")
	const callers = 64
	ids, c := make([]driver.ID, callers), claim()
	errs := make([]error, callers)
	before := s.pool.Stat().AcquireCount()
	var all sync.WaitGroup
	for i := range callers {
		ids[i] = newID()
		all.Go(func() {
			if _, err := s.Acquire(bg, ids[i], c); err != nil {
				t.Errorf("Acquire: %v", err)
			}
		})
	}
	all.Wait()
	check.True(t, s.pool.Stat().AcquireCount()-before < callers/2, "they did not go together")
	for i := range callers {
		all.Go(func() {
			ctx, out, owner := bg, sampled, c.Owner
			switch i % 16 {
			case 1:
				out.Bytes = []byte("refused")
			case 2:
				owner = newOwner()
			case 3:
				var leave context.CancelFunc
				ctx, leave = context.WithTimeout(bg, time.Microsecond)
				defer leave()
			case 4:
				out.Bytes = make([]byte, 2*largest)
			}
			errs[i] = s.Complete(ctx, ids[i], owner, out)
		})
	}
	all.Wait()
	for i, err := range errs {
		switch i % 16 {
		case 1:
			check.True(t, errors.Is(err, driver.ErrUnavailable) && !errors.Is(err, driver.ErrLost), "an outcome that is refused: %v", err)
		case 2:
			check.ErrorIs(t, err, driver.ErrLost, "somebody else")
		case 3:
			check.True(t, err == nil || errors.Is(err, context.DeadlineExceeded), "one who leaves: %v", err)
		default:
			check.NoError(t, err, "one of the others")
		}
	}
}

// What ends a session may come when the statement has been committed.
func TestEndOfASessionIsUnknown(t *testing.T) {
	for severity, sure := range map[string]bool{"ERROR": true, "FATAL": false, "PANIC": false} {
		err := failure(&pgconn.PgError{SeverityUnlocalized: severity, Code: "57P01"})
		check.Equal(t, errors.Is(err, driver.ErrUnavailable), sure, "whether %s is sure", severity)
	}
	check.ErrorIs(t, failure(&pgconn.PgError{SeverityUnlocalized: "ERROR", Code: "53100"}), driver.ErrFull, "a full disk")
}
