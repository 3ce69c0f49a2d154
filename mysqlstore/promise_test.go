package mysqlstore

import (
	"bytes"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

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
		{[]string{"log_bin", "sync_binlog = 1", "binlog_format = MIXED"}, ""},
		{[]string{"innodb_flush_log_at_trx_commit = 2"}, "innodb_flush_log_at_trx_commit is 2"},
		{[]string{"log_bin", "sync_binlog = 0", "binlog_format = ROW"}, "sync_binlog is 0"},
		{[]string{"innodb_doublewrite = 0"}, "innodb_doublewrite is off"},
	} {
		server := testsvc.MariaDB(t, c.settings...)
		var log bytes.Buffer
		s := openAt(t, server.URL, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		doubts := strings.Join(s.Promise().Doubts, "; ")
		check.True(t, strings.Contains(doubts, c.doubt) && (c.doubt != "" || doubts == ""), "with %q the doubts are %q", c.settings, doubts)
		check.True(t, strings.HasPrefix(s.Promise().Server, "MariaDB 1"), "the server is %q", s.Promise().Server)
		check.Equal(t, strings.Contains(log.String(), "level=WARN"), c.doubt != "", "a warning with %q", c.settings)
		log.Reset()
		openAt(t, server.URL, &Options{Prefix: s.prefix, BestEffort: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		check.True(t, strings.Contains(log.String(), "level=INFO"), "the log of who knows: %s", log.String())
		now, err := s.Clock(bg)
		check.NoError(t, err, "Clock")
		check.True(t, time.Since(now).Abs() < time.Minute, "the server's clock is %v", now)
	}
}

func TestJudge(t *testing.T) {
	good := map[string]string{
		"version": "8.0.36", "read_only": "OFF", "super_read_only": "OFF", "innodb_flush_log_at_trx_commit": "1", "log_bin": "OFF",
		"sync_binlog": "1", "binlog_format": "ROW", "max_allowed_packet": "67108864", "innodb_doublewrite": "ON", "autocommit": "ON",
		"completion_type": "NO_CHAIN", "transaction_isolation": "REPEATABLE-READ",
	}
	judge := func(change map[string]string) (Promise, error) {
		f := facts{variables: make(map[string]string)}
		for _, from := range []map[string]string{good, change} {
			for name, value := range from {
				f.variables[name] = value
			}
		}
		f.identify()
		return f.judge()
	}
	for want, change := range map[string]map[string]string{
		"is MariaDB 10.5.9: use MariaDB 10.6": {"version": "10.5.9-MARIADB-LOG"},
		"is MySQL 5.7.44":                     {"version": "5.7.44"},
		"connect to the primary":              {"read_only": "ON"},
		"max_allowed_packet is 1048576":       {"max_allowed_packet": "1048576"},
		"set it to ROW or MIXED":              {"log_bin": "ON", "binlog_format": "STATEMENT"},
		"the isolation READ-UNCOMMITTED":      {"transaction_isolation": "READ-UNCOMMITTED"},
	} {
		_, err := judge(change)
		check.True(t, err != nil && strings.Contains(err.Error(), want), "%v: %v does not say %q", change, err, want)
	}
	_, err := judge(map[string]string{"super_read_only": "ON"})
	check.ErrorIs(t, err, driver.ErrUnavailable, "a server that will perhaps take writes later")
	p, err := judge(nil)
	check.NoError(t, err, "MySQL 8")
	check.Equal(t, p.Server+" "+p.String()[:7], "MySQL 8.0.36 durable", "the promise of MySQL")
	p, err = judge(map[string]string{"version": "11.4.2-MARIADB", "wsrep_on": "ON"})
	check.NoError(t, err, "Galera")
	check.True(t, strings.Contains(p.String(), "Galera"), "the promise of Galera: %v", p)
}

// On such connections an "ok" is no promise, whether the pool has them so or the server.
func TestPoolsThatAreRefused(t *testing.T) {
	url := testsvc.SharedMariaDB(t).URL
	o := &Options{Prefix: openAt(t, url, nil).prefix, Logger: quiet}
	refused := func(url, setting, first, want string) {
		t.Helper()
		db := plainPool(t, url, setting)
		db.SetMaxOpenConns(1)
		_, err := db.ExecContext(bg, first)
		check.NoError(t, err, "%s", first)
		s, err := New(db, o)
		check.True(t, err != nil && strings.Contains(err.Error(), want), "New on a pool with %q, %q: %v", setting, first, err)
		if err == nil {
			s.Close()
		}
	}
	const first = "DO 0"
	refused(url, "autocommit=0", first, "set autocommit = 1")
	refused(url, "completion_type=1", first, "completion_type CHAIN")
	refused(url, "completion_type=2", first, "completion_type RELEASE")
	refused(url, "tx_isolation=%27READ-UNCOMMITTED%27", first, "the isolation READ-UNCOMMITTED")
	refused(url, "", "BEGIN", "begin transactions with BeginTx only")
	_, err := Open(url+"?tx_isolation=%27READ-UNCOMMITTED%27", o)
	check.True(t, err != nil && strings.Contains(err.Error(), "the isolation READ-UNCOMMITTED"), "Open: %v", err)

	server := testsvc.MariaDB(t, "autocommit = 0")
	migrated(t, server.URL, o)
	refused(server.URL, "", first, "set autocommit = 1")
}

// plainPool is one as somebody else makes it: what connect always sets, it has only by its setting.
func plainPool(t *testing.T, url, setting string) *sql.DB {
	t.Helper()
	config, _, err := parse(url + "?" + setting)
	check.NoError(t, err, "the address")
	connector, err := mysql.NewConnector(config)
	check.NoError(t, err, "the pool")
	db := sql.OpenDB(connector)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// What a pool of the store's own does is committed, whatever the server and the URL say of those who come.
func TestOwnPoolCommits(t *testing.T) {
	server := testsvc.MariaDB(t, "autocommit = 0", "completion_type = 1")
	url := server.URL + "?autocommit=0&completion_type=1"
	for range 2 {
		migrated(t, url, nil)
		s, err := Open(url, &Options{Logger: quiet})
		check.NoError(t, err, "opening")
		id, c := newID(), claim()
		pair(t, s, id, &c)
		s.Close()
		acquire(t, openAt(t, server.URL, &Options{Prefix: defaultPrefix}), id, claim(), driver.Done)
	}
}

// A replica has what its primary has, a little later: too late for a question like ours.
func TestReadOnlyServerIsRefused(t *testing.T) {
	server := testsvc.MariaDB(t)
	s := openAt(t, server.URL, nil)
	ordinary := userOf(t, server, s, documentedGrants(t))
	db := poolOf(t, ordinary)
	s.db = db
	check.NoError(t, s.prepare(bg), "preparing")
	execute(t, &Store{db: poolOf(t, server.URL), prefix: s.prefix}, "SET GLOBAL read_only = 1")
	_, err := s.Acquire(bg, newID(), claim())
	check.ErrorIs(t, err, driver.ErrUnavailable, "Acquire")
	check.True(t, strings.Contains(err.Error(), "connect to the primary"), "%v", err)
	_, err = Open(server.URL, &Options{Prefix: s.prefix, Logger: quiet})
	check.ErrorIs(t, err, driver.ErrUnavailable, "opening")
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]string{
		"mysql://u:p%40%2F:@h/db?tls=true":              "u p@/: tcp h:3306 db",
		"mariadb://[::1]:3307/db?collation=utf8mb4_bin": "  tcp [::1]:3307 db",
	} {
		c, connections, err := parse(address)
		check.NoError(t, err, "%s", address)
		check.Equal(t, connections, 64, "%s", address)
		check.Equal(t, strings.Join([]string{c.User, c.Passwd, c.Net, c.Addr, c.DBName}, " "), want, "%s", address)
	}
	_, connections, err := parse("mysql://h/db?pool_max_conns=8&tls=true")
	check.NoError(t, err, "a pool of 8")
	check.Equal(t, connections, 8, "pool_max_conns")
	for address, want := range map[string]string{
		"mysql://u:secret@h/db?pool_max_conns=0": "at least 1",
		"mysql://u:sec%zzret@h/db":               "no URL",
		"postgres://u:secret@h/db":               "unknown scheme",
		"mysql://u:secret@h":                     "database is missing",
		"mysql://u:secret@h/db?readTimeout=":     "time",
		"mysql://u:secret@127.0.0.1:1/db":        "no connection",
	} {
		_, err := Open(address, &Options{Logger: quiet})
		check.True(t, err != nil && strings.Contains(err.Error(), want), "%s: %v, want %q", address, err, want)
		check.True(t, !strings.Contains(err.Error(), "sec"), "the error shows the password: %v", err)
	}
	for _, o := range []Options{{Prefix: "käse_"}, {Prefix: "a.b"}, {Audit: 3}} {
		_, err := Open("mysql://h/db", &o)
		check.True(t, err != nil && strings.HasPrefix(err.Error(), "mysqlstore: Options."), "%+v: %v", o, err)
	}
}

// userOf makes a user with the rights, and returns the URL with which it comes.
func userOf(t testing.TB, server *testsvc.Server, s *Store, grants []string) string {
	t.Helper()
	user := testsvc.Name()[:20]
	execute(t, s, "CREATE USER "+user+"@'%' IDENTIFIED BY 'p'")
	t.Cleanup(func() { execute(t, &Store{db: poolOf(t, server.URL)}, "DROP USER "+user+"@'%'") })
	for _, grant := range grants {
		execute(t, s, "GRANT "+grant+" TO "+user+"@'%'")
	}
	_, rest, _ := strings.Cut(server.URL, "@")
	return "mysql://" + user + ":p@" + rest
}

// The user of the documentation can do all that a store does.
func TestRightsOfTheDocumentation(t *testing.T) {
	server := testsvc.SharedMariaDB(t)
	grants := documentedGrants(t)
	check.Equal(t, len(grants), 4, "grants in the documentation")
	for _, partitions := range []bool{true, false} {
		admin := openAt(t, server.URL, nil)
		if !partitions {
			grants = grants[:3]
		}
		o := &Options{Prefix: admin.prefix, Audit: driver.AuditAll, AuditRetention: time.Millisecond}
		s := openAt(t, userOf(t, server, admin, grants), o)
		check.Equal(t, len(s.Promise().Notes) > 0, !partitions, "notes %q with the right to make partitions: %v", s.Promise().Notes, partitions)
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
		check.Equal(t, ask[int](t, admin, "SELECT COUNT(*) FROM onceward_trail") == 0, !partitions, "whether entries went row by row")
	}
}

func documentedGrants(t *testing.T) (grants []string) {
	t.Helper()
	text, err := os.ReadFile("mysqlstore.go")
	check.NoError(t, err, "the documentation")
	for line := range strings.Lines(string(text)) {
		if grant, ok := strings.CutPrefix(line, "//\tGRANT "); ok {
			grant, _, _ = strings.Cut(grant, " TO onceward;")
			grants = append(grants, strings.Replace(grant, "app.", "", 1))
		}
	}
	return grants
}
