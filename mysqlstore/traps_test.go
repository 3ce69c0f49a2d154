package mysqlstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
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
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	for name, damage := range map[string]string{
		"a later version": "UPDATE onceward_records SET version = 2, expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 DAY WHERE id = ?",
		"another outcome": "UPDATE onceward_records SET outcome = 'of somebody else' WHERE id = ?",
		"another phase":   "UPDATE onceward_records SET phase = 7 WHERE id = ?",
	} {
		id, c := newID(), claim()
		pair(t, s, id, &c)
		execute(t, s, damage, id[:])
		row := func() string {
			return ask[string](t, s, "SELECT CONCAT_WS(' ', version, phase, fence, HEX(owner), HEX(outcome), expires_at)"+
				" FROM onceward_records WHERE id = ?", id[:])
		}
		before := row()
		for call, err := range every(s, id, c) {
			check.ErrorIs(t, err, driver.ErrUndecodable, "%s on %s", call, name)
		}
		_, err := s.Sweep(bg, 10)
		check.NoError(t, err, "Sweep")
		check.Equal(t, row(), before, "%s afterwards", name)
	}
}

// A residue lasts for two leases, for which the suite cannot wait.
func TestResidueLastsForTwoLeases(t *testing.T) {
	url := testsvc.SharedMariaDB(t).URL
	for _, level := range []driver.AuditLevel{driver.AuditOff, driver.AuditAll} {
		s := openAt(t, url, &Options{Audit: level})
		for lease, want := range map[time.Duration]float64{time.Second: 60, 10 * time.Minute: 20 * 60} {
			id, c := newID(), claim()
			c.Lease = lease
			acquire(t, s, id, c, driver.Acquired)
			check.NoError(t, s.Extend(bg, id, c.Owner, driver.Extension{}), "giving up")
			check.NoError(t, s.Release(bg, id, c.Owner, driver.Note{}), "Release")
			left := ask[float64](t, s, "SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), expires_at) / 1e6"+
				" FROM onceward_records WHERE id = ?", id[:])
			check.True(t, left > want-30 && left <= want, "the residue of a lease of %v is kept for %v s more", lease, left)
		}
	}
}

// Settings of somebody else's pool change nothing, but for those of TestPoolsThatAreRefused: its time zone, where an hour may
// come twice, its isolation, its SQL mode, which would cut off what does not fit, and what it counts as changed.
func TestSettingsOfThePool(t *testing.T) {
	url := testsvc.SharedMariaDB(t).URL
	for _, setting := range []string{
		"time_zone=%27-11%3A00%27", "tx_isolation=%27SERIALIZABLE%27", "tx_isolation=%27READ-COMMITTED%27",
		"sql_mode=%27%27", "sql_mode=%27ANSI,NO_BACKSLASH_ESCAPES,TRADITIONAL%27", "clientFoundRows=true", "interpolateParams=true",
		"parseTime=true", "multiStatements=true", "collation=utf8mb4_unicode_ci",
	} {
		s := openAt(t, url, &Options{Audit: driver.AuditAll})
		s = openAt(t, url+"?"+setting, &Options{Prefix: s.prefix, Audit: driver.AuditAll})
		id, c := newID(), claim()
		c.Labels.KeyHint, c.Fingerprint.Sum = `\'"`+"\x00\xff%_", "ABC "
		acquire(t, s, id, c, driver.Acquired)
		for _, sum := range []string{"abc ", "ABC", "ABC  "} {
			other := claim()
			other.Fingerprint.Sum = sum
			acquire(t, s, id, other, driver.Mismatch)
		}
		check.NoError(t, s.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}), "Extend with %s", setting)
		check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete with %s", setting)
		check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete again with %s", setting)
		r := acquire(t, s, id, c, driver.Done)
		check.True(t, r.Age < time.Minute && r.Left > c.Retain-time.Minute, "with %s a record is %v old and kept for %v", setting, r.Age, r.Left)
		check.Equal(t, r.Labels, c.Labels, "labels")
		now, err := s.Clock(bg)
		check.NoError(t, err, "Clock")
		check.True(t, time.Since(now).Abs() < time.Minute, "the clock with %s: %v", setting, now)
		page, _, err := s.History(bg, driver.HistoryQuery{ID: &id, Since: time.Now().Add(-time.Minute), Until: time.Now().Add(time.Minute)})
		check.NoError(t, err, "History")
		check.Equal(t, len(page), 3, "entries with %s", setting)
	}
}

// What does not fit is refused, also where the server would cut it off.
func TestWhatDoesNotFit(t *testing.T) {
	server := testsvc.MariaDB(t, "max_allowed_packet = 4M")
	s := openAt(t, server.URL, nil)
	s = openAt(t, server.URL+"?sql_mode=%27%27", &Options{Prefix: s.prefix})
	id, c := newID(), claim()
	c.Labels.Operation = strings.Repeat("x", 1<<16)
	_, err := s.Acquire(bg, id, c)
	check.ErrorIs(t, err, driver.ErrUnavailable, "Acquire with a very long operation")
	check.True(t, strings.Contains(err.Error(), "operation has 65536 bytes"), "%v", err)
	long := strings.Repeat("y", 1<<16-1)
	c.Labels = driver.Labels{KeyHint: long, Operation: long, Route: long, Host: long}
	c.Note = driver.Note{Actor: long, Reason: long, TraceID: long, Node: long}
	acquire(t, s, id, c, driver.Acquired)
	out := driver.Outcome{Kind: driver.Answer, Bytes: []byte(strings.Repeat("'", 3<<20)), Note: c.Note}
	check.NoError(t, s.Complete(bg, id, c.Owner, out), "Complete with all that fits")
	r := acquire(t, s, id, c, driver.Done)
	check.True(t, r.Labels == c.Labels && r.Note == c.Note && len(r.Outcome.Bytes) == len(out.Bytes), "what came back is not what was stored")
	id = newID()
	acquire(t, s, id, c, driver.Acquired)
	out.Bytes = make([]byte, 4<<20)
	err = s.Complete(bg, id, c.Owner, out)
	check.ErrorIs(t, err, driver.ErrUnavailable, "Complete with a very large outcome")
	check.True(t, strings.Contains(err.Error(), "max_allowed_packet"), "%v", err)
}

// What MariaDB refuses, the caller may take for refused.
func TestRefusals(t *testing.T) {
	server := testsvc.MariaDB(t)
	s := openAt(t, server.URL, nil)
	id, c := newID(), claim()
	acquire(t, s, id, c, driver.Acquired)
	refused := func(hint string) {
		t.Helper()
		for call, err := range every(s, id, c) {
			check.ErrorIs(t, err, driver.ErrUnavailable, "%s", call)
			check.True(t, !errors.Is(err, driver.ErrFull) && !errors.Is(err, driver.ErrUndecodable), "%s: %v", call, err)
			check.True(t, strings.Contains(err.Error(), hint), "%s: %q does not say %q", call, err, hint)
		}
	}
	execute(t, s, "RENAME TABLE onceward_records TO onceward_elsewhere")
	refused("onceward migrate up")
	execute(t, s, "RENAME TABLE onceward_elsewhere TO onceward_records")
	server.Stop()
	_, err := s.Get(bg, id) // the first call may find the connection broken
	check.True(t, err != nil, "Get from a server that is down")
	refused("no connection")
	_, err = Open(server.URL, &Options{Logger: quiet})
	check.ErrorIs(t, err, driver.ErrUnavailable, "opening a server that is down")
	server.Restart()
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete when all is well again")
}

func TestFailures(t *testing.T) {
	for number, want := range map[uint16]error{
		tableFull: driver.ErrFull, diskFull: driver.ErrFull, lockTimeout: driver.ErrUnavailable, 1040: driver.ErrUnavailable,
		1053: nil, 1180: nil, 1317: nil, 1927: nil, // whatever was under way may have happened
	} {
		err := failure(fmt.Errorf("driver: %w", &mysql.MySQLError{Number: number, Message: "told"}))
		check.Equal(t, errors.Is(err, driver.ErrUnavailable), want != nil, "whether error %d is a refusal: %v", number, err)
		check.True(t, want == nil || errors.Is(err, want), "error %d is %v", number, err)
		check.True(t, strings.Contains(err.Error(), "told"), "%v does not say why", err)
	}
}

// A silent server has perhaps done what it was asked.
func TestSilenceIsUnknown(t *testing.T) {
	server := testsvc.MariaDB(t)
	s := openAt(t, server.URL, nil)
	_, err := s.Get(bg, newID())
	check.NoError(t, err, "Get")
	server.Pause()
	ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = s.Acquire(ctx, newID(), claim())
	took := time.Since(start)
	server.Resume()
	check.True(t, err != nil && !errors.Is(err, driver.ErrUnavailable), "Acquire on a silent server: %v", err)
	check.True(t, took < 5*time.Second, "it took %v", took)
}

// Whoever only asks writes nothing, unless it is of what was done just now.
func TestReplaysWriteNothing(t *testing.T) {
	s := openAt(t, testsvc.MariaDB(t).URL, nil)
	done, running, c := newID(), newID(), claim()
	pair(t, s, done, &c)
	doneFor(t, s, done, settled)
	acquire(t, s, running, c, driver.Acquired)
	written := func() (n int) {
		var name string
		check.NoError(t, s.db.QueryRowContext(bg, "SHOW GLOBAL STATUS LIKE 'Innodb_os_log_written'").Scan(&name, &n), "asking")
		return n
	}
	other := claim()
	before := written()
	for range 500 {
		acquire(t, s, done, other, driver.Done)
		acquire(t, s, running, other, driver.Running)
	}
	grown := written() - before
	t.Logf("1000 replays wrote %d bytes of log", grown)
	check.True(t, grown < 20_000, "1000 replays wrote %d bytes of log", grown)
}

// People read the table by its view.
func TestViewForPeople(t *testing.T) {
	s := openAt(t, testsvc.SharedMariaDB(t).URL, nil)
	done, doubtful, released, c := newID(), newID(), newID(), claim()
	c.Labels.Operation, c.Labels.KeyHint = "POST /käse", "\x00\xff"
	pair(t, s, done, &c)
	acquire(t, s, doubtful, c, driver.Acquired)
	acquire(t, s, released, c, driver.Acquired)
	check.NoError(t, s.Extend(bg, doubtful, c.Owner, driver.Extension{}), "giving up")
	check.NoError(t, s.Release(bg, released, c.Owner, driver.Note{}), "Release")
	got := ask[string](t, s, "SELECT GROUP_CONCAT(id, ' ', state, ' ', operation ORDER BY state) FROM onceward_keys")
	check.Equal(t, got, done.String()+" done POST /käse,"+doubtful.String()+" in-doubt POST /käse", "the view")
}
