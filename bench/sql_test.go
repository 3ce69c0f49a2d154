package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

var databases = map[string]func() (*database, error){
	"PostgreSQL": func() (*database, error) { return openPostgres() }, "MariaDB": openMariaDB,
}

func TestRowsOnDatabasesCheckWhatTheyGet(t *testing.T) {
	for name, open := range databases {
		d, err := open()
		check.NoError(t, err, "%s", name)
		t.Cleanup(func() { check.NoError(t, d.end(), "the end of %s", name) })
		check.NoError(t, d.keep(), "%s: keeping what is empty", name)
		hasty, over, err := d.hasty()
		check.NoError(t, err, "%s: no sync", name)
		for what, p := range map[string]freshAndReplay{"plain": d.plain, "hasty": hasty, "store": d.store, "audited": d.audited} {
			check.NoError(t, d.reset(), "%s, %s: emptying", name, what)
			check.True(t, p.replay(1) != nil, "%s, %s: a fresh key passes for a done one", name, what)
			check.NoError(t, d.reset(), "%s, %s: emptying again", name, what)
			check.NoError(t, p.fresh(1), "%s, %s: a fresh key", name, what)
			check.NoError(t, p.replay(1), "%s, %s: the done key", name, what)
			check.True(t, p.fresh(1) != nil, "%s, %s: a done key passes for a fresh one", name, what)
		}
		check.NoError(t, over(), "%s: a sync again", name)
		for what, do := range map[string]func(n int) error{"three": d.three, "doOnce": d.doOnce, "doTx": d.doTx} {
			check.NoError(t, d.reset(), "%s, %s: emptying", name, what)
			check.NoError(t, do(1), "%s, %s: a fresh key", name, what)
			check.True(t, do(1) != nil, "%s, %s: a done key passes for a fresh one", name, what)
		}
	}
}

func TestHastyRowsWaitForNoDisk(t *testing.T) {
	p, err := openPostgres()
	check.NoError(t, err, "a PostgreSQL")
	t.Cleanup(func() { check.NoError(t, p.end(), "its end") })
	hasty, _, err := p.hasty()
	check.NoError(t, err, "no sync")
	for want, client := range map[string]freshAndReplay{"on": p.plain, "off": hasty} {
		var is string
		check.NoError(t, client.(*plain).row("SHOW synchronous_commit").Scan(&is), "asking")
		check.Equal(t, is, want, "synchronous_commit")
	}

	m, err := openMariaDB()
	check.NoError(t, err, "a MariaDB")
	t.Cleanup(func() { check.NoError(t, m.end(), "its end") })
	flushes := func(want int) {
		var is int
		row := m.plain.(*plain).row("SELECT @@GLOBAL.innodb_flush_log_at_trx_commit")
		check.NoError(t, row.Scan(&is), "asking")
		check.Equal(t, is, want, "innodb_flush_log_at_trx_commit")
	}
	flushes(1)
	_, over, err := m.hasty()
	check.NoError(t, err, "no sync")
	flushes(0)
	check.NoError(t, over(), "a sync again")
	flushes(1)
}

// What a database is asked is answered by the server that does the work.
func TestDatabasesTellWhatTheyUse(t *testing.T) {
	for name, open := range databases {
		d, err := open()
		check.NoError(t, err, "%s", name)
		t.Cleanup(func() { check.NoError(t, d.end(), "the end of %s", name) })
		check.True(t, strings.Contains(d.version, "."), "%s has version %q", name, d.version)
		before, err := d.used()
		check.NoError(t, err, "%s: what is used", name)
		check.NoError(t, spread(1, 100, d.plain.fresh), "%s: pairs", name)
		after, err := d.used()
		check.NoError(t, err, "%s: what is used", name)
		check.True(t, after.Logged > before.Logged+100*200, "%s: 100 pairs wrote %d bytes", name, after.Logged-before.Logged)
		if _, err := os.Stat("/proc/self/schedstat"); err == nil {
			check.True(t, after.Server > before.Server, "%s: the CPU went from %v to %v", name, before.Server, after.Server)
		}
	}
}

// Nor do the first replays of a process, which remembers nothing yet.
func TestReplaysOnPostgresWriteNothing(t *testing.T) {
	d, err := postgresTables().openQuiet()
	check.NoError(t, err, "a PostgreSQL")
	t.Cleanup(func() { check.NoError(t, d.end(), "its end") })
	check.NoError(t, fill(d.store.fresh), "keys")
	check.NoError(t, d.settle(), "settling")
	before, err := d.logged()
	check.NoError(t, err, "its log")
	check.NoError(t, fill(d.store.replay), "replays")
	after, err := d.logged()
	check.NoError(t, err, "its log")
	check.Equal(t, after-before, 0, "bytes in the log for %d replays", stored)
	check.NoError(t, d.effect(1), "an effect")
	after, err = d.logged()
	check.NoError(t, err, "its log")
	check.True(t, after > before, "nothing is written to the log that is read")
}

func TestDatabasesEndWithTheirProgram(t *testing.T) {
	for name, open := range databases {
		d, err := open()
		check.NoError(t, err, "%s", name)
		check.NoError(t, d.server.running.in.Close(), "what the system does when the program is killed")
		check.NoError(t, d.server.running.cmd.Wait(), "%s is not still there", name)
		check.True(t, d.effect(1) != nil, "%s still answers", name)
		check.NoError(t, d.end(), "the end of what has ended")
	}
}

func TestPostgresThatDoesNotStart(t *testing.T) {
	scratch, err := os.MkdirTemp("", "onceward-bench-test-") //nolint:usetesting // that one is closed to other users
	check.NoError(t, err, "a directory")
	t.Cleanup(func() { check.NoError(t, os.RemoveAll(scratch), "removing it") })
	check.NoError(t, os.Chmod(scratch, 0o755), "opening it")
	t.Setenv("TMPDIR", scratch)
	_, err = startPostgres("no_such_setting=1")
	check.True(t, err != nil && strings.Contains(err.Error(), "no_such_setting"), "the error %v does not show what it says", err)
	left, err := filepath.Glob(filepath.Join(scratch, "*"))
	check.NoError(t, err, "what is left")
	check.Equal(t, len(left), 0, "directories that are left: %v", left)
}
