package pgstore

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

func TestPromise(t *testing.T) {
	for _, c := range []struct {
		settings []string
		doubt    string
	}{
		{nil, ""},
		{[]string{"synchronous_commit = local"}, ""},
		{[]string{"synchronous_commit = off"}, "synchronous_commit is off"},
		{[]string{"fsync = off"}, "fsync is off"},
		{[]string{"full_page_writes = off"}, "full_page_writes is off"},
	} {
		server := testsvc.Postgres(t, c.settings...)
		o := Options{Schema: testsvc.Name()}
		_, err := Migrate(bg, server.URL, Latest, &o)
		check.NoError(t, err, "migrating")
		var log bytes.Buffer
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		s, err := Open(server.URL, &o)
		check.NoError(t, err, "opening a store")
		s.Close()
		doubts := strings.Join(s.Promise().Doubts, "; ")
		check.True(t, strings.HasPrefix(doubts, c.doubt) && (c.doubt != "" || doubts == ""), "with %q the doubts are %q", c.settings, doubts)
		check.True(t, strings.HasPrefix(s.Promise().Server, "PostgreSQL 1"), "the server is %q", s.Promise().Server)
		check.Equal(t, strings.Contains(log.String(), "level=WARN"), c.doubt != "", "a warning with %q", c.settings)
		check.True(t, !strings.Contains(log.String(), "password"), "the log shows the address")
		now, err := s.Clock(bg)
		check.True(t, err != nil, "the clock of a closed store: %v", now)
	}
}

func TestJudge(t *testing.T) {
	good := facts{version: "15.1", number: 150001, readOnly: "off", fsync: "on", fullPages: "on", commit: "on", ownsTrail: true}
	for name, c := range map[string]struct {
		change func(f *facts)
		want   string
	}{
		"old":       {func(f *facts) { f.number = 120022 }, "use 13 or later"},
		"standby":   {func(f *facts) { f.standby = true }, "connect to the primary"},
		"read only": {func(f *facts) { f.readOnly = "on" }, "takes no writes"},
	} {
		f := good
		c.change(&f)
		_, err := f.judge(driver.AuditOff)
		check.True(t, err != nil && strings.Contains(err.Error(), c.want), "a server that is %s: %v", name, err)
	}
	good.standbys = "ANY 1 (a, b)"
	p, err := good.judge(driver.AuditOff)
	check.NoError(t, err, "a good server")
	check.Equal(t, p.Notes[0], "commits wait for ANY 1 (a, b)", "the first note")
	check.True(t, strings.Contains(p.Notes[1], "a failover would forget it"), "notes: %q", p.Notes)
	good.ownsTrail = false
	p, err = good.judge(driver.AuditAll)
	check.NoError(t, err, "a user without DDL")
	check.True(t, strings.Contains(p.Notes[2], "by row"), "notes: %q", p.Notes)
}

// A standby has what its primary has, a little later: too late for a question like ours.
func TestReadOnlyServerIsRefused(t *testing.T) {
	server := testsvc.SharedPostgres(t).Database()
	s := openAt(t, server.URL, nil)
	_, err := Open(server.URL+"&default_transaction_read_only=on", &Options{Schema: s.schema, Logger: quiet})
	check.ErrorIs(t, err, driver.ErrUnavailable, "opening")
	config, err := pgxpool.ParseConfig(server.URL + "&default_transaction_read_only=on")
	check.NoError(t, err, "parsing")
	pool, err := pgxpool.NewWithConfig(bg, config)
	check.NoError(t, err, "connecting")
	defer pool.Close()
	s.on = onPool{pool}
	_, err = s.Acquire(bg, newID(), claim())
	check.ErrorIs(t, err, driver.ErrUnavailable, "Acquire")
	check.True(t, strings.Contains(err.Error(), "connect to the primary"), "%v", err)
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"postgres://u:secret@h:notaport/db":          "no URL",
		"mysql://u:secret@h/db":                      "unknown scheme",
		"postgres://u:secret@h/db?sslmode=sometimes": "sslmode",
		"postgres://u:sec%zzret@h/db":                "no URL",
		"postgres://u:secret@127.0.0.1:1/db":         "no connection",
	} {
		_, err := Open(address, &Options{Logger: quiet})
		check.True(t, err != nil && strings.Contains(err.Error(), want), "%s: %v, want %q", address, err, want)
		check.True(t, !strings.Contains(err.Error(), "sec"), "the error shows the password: %v", err)
	}
	for _, o := range []Options{{Schema: "Käse"}, {Schema: "a.b"}, {Audit: 3}} {
		_, err := Open("postgres://h/db", &o)
		check.True(t, err != nil && strings.HasPrefix(err.Error(), "pgstore: "), "%+v: %v", o, err)
	}
}

// The user of the documentation can do all that a store does.
func TestRightsOfTheDocumentation(t *testing.T) {
	server := testsvc.SharedPostgres(t).Database()
	admin := openAt(t, server.URL, &Options{Audit: driver.AuditAll})
	role := testsvc.Name()
	execute(t, admin, "CREATE ROLE "+role+" LOGIN PASSWORD 'p'")
	t.Cleanup(func() { execute(t, admin, "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	for _, grant := range documentedGrants(t) {
		grant = strings.ReplaceAll(grant, "SCHEMA onceward ", "SCHEMA "+admin.schema+" ")
		execute(t, admin, strings.Replace(grant, "TO service", "TO "+role, 1))
	}
	address := strings.Replace(server.URL, "postgres://"+admin.pool.Config().ConnConfig.User+":"+admin.pool.Config().ConnConfig.Password,
		"postgres://"+role+":p", 1)
	s := openAt(t, address, &Options{Schema: admin.schema, Audit: driver.AuditAll, AuditRetention: time.Millisecond})
	id, c := newID(), claim()
	pair(t, s, id, &c)
	brief := claim()
	brief.Retain = time.Microsecond
	pair(t, s, newID(), &brief)
	for call, err := range every(s, newID(), claim()) {
		check.True(t, err == nil || errors.Is(err, driver.ErrLost), "%s: %v", call, err)
	}
	_, _, err := s.List(bg, driver.Query{})
	check.NoError(t, err, "List")
	_, _, err = s.History(bg, driver.HistoryQuery{ID: &id})
	check.NoError(t, err, "History")
	_, err = s.Clock(bg)
	check.NoError(t, err, "Clock")
	check.NoError(t, s.Wait(bg, id), "Wait for a key that is done")
	removed, err := s.Sweep(bg, 10)
	check.NoError(t, err, "Sweep")
	check.Equal(t, removed, 1, "records swept")
	over := ask[int](t, admin, "SELECT count(*) FROM onceward.trail WHERE at < now() - interval '1 second'")
	check.Equal(t, over, 0, "entries that are over")
	check.Equal(t, s.ownsTrail, false, "whether the user may make partitions")
}

func documentedGrants(t *testing.T) (grants []string) {
	t.Helper()
	text, err := os.ReadFile("pgstore.go")
	check.NoError(t, err, "the documentation")
	for line := range strings.Lines(string(text)) {
		if grant, ok := strings.CutPrefix(line, "//\tGRANT "); ok {
			grants = append(grants, "GRANT "+strings.TrimSuffix(strings.TrimSpace(grant), ";"))
		}
	}
	check.Equal(t, len(grants), 5, "grants in the documentation")
	return grants
}
