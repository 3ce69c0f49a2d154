package mysqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
)

// Promise is what a server can keep.
type Promise struct {
	// Server is its name and version, such as "MariaDB 10.11.6".
	Server string
	// Doubts are the reasons why nothing is guaranteed. Without any the server is durable.
	Doubts []string
	// Notes are worth knowing and take nothing from the promise.
	Notes []string
}

// String is the promise in a sentence.
func (p Promise) String() string {
	if len(p.Doubts) == 0 {
		return "durable: exactly once per key in its transaction, and otherwise under hold an operation starts at most once"
	}
	return "best effort, an operation may run again: " + strings.Join(p.Doubts, "; ")
}

// facts are what a server says of itself, and of the connection on which it was asked.
type facts struct {
	variables    map[string]string // by name, upper case for what is switched on or off
	maria        bool
	major, minor int
}

func inspect(ctx context.Context, db *sql.DB) (*facts, error) {
	// Of the session, because a pool may set what the server has otherwise. What no session can have is the server's all the same.
	rows, err := db.QueryContext(ctx, `SHOW SESSION VARIABLES WHERE Variable_name IN ('version', 'read_only', 'super_read_only',
		'innodb_flush_log_at_trx_commit', 'innodb_doublewrite', 'innodb_read_only', 'log_bin', 'sync_binlog', 'binlog_format',
		'max_allowed_packet', 'wsrep_on', 'autocommit', 'completion_type', 'in_transaction', 'tx_isolation', 'transaction_isolation',
		'innodb_rollback_on_timeout')`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	f := &facts{variables: make(map[string]string)}
	for rows.Next() {
		var name, value string
		if err := rows.Scan(&name, &value); err != nil {
			return nil, err
		}
		f.variables[strings.ToLower(name)] = strings.ToUpper(value)
	}
	f.identify()
	return f, rows.Err()
}

func (f *facts) identify() {
	version := f.variables["version"]
	f.maria = strings.Contains(version, "MARIADB")
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	f.major, _ = strconv.Atoi(major) // 0 is too old
	f.minor, _ = strconv.Atoi(minor)
}

func (f *facts) number(name string) int {
	n, _ := strconv.Atoi(f.variables[name]) // what is not told is 0
	return n
}

func (f *facts) on(name string) bool { return f.variables[name] == "ON" || f.variables[name] == "1" }

// leastPacket holds an outcome of 1 MiB with its headers, a label of the greatest length in every place, and what the protocol
// adds.
const leastPacket = 4 << 20

// judge returns what the server can keep, and an error if it cannot be used.
func (f *facts) judge() (p Promise, err error) {
	version, _, _ := strings.Cut(f.variables["version"], "-")
	p.Server = "MySQL " + version
	tooOld := f.major < 8
	if f.maria {
		p.Server = "MariaDB " + version
		tooOld = f.major < 10 || f.major == 10 && f.minor < 6
	}
	switch {
	case tooOld:
		return p, fmt.Errorf("mysqlstore: the server is %s: use MariaDB 10.6 or MySQL 8.0, or later", p.Server)
	case f.on("read_only"), f.on("super_read_only"), f.on("innodb_read_only"):
		return p, fmt.Errorf("%w: mysqlstore: the server is read-only, so probably a replica: connect to the primary", driver.ErrUnavailable)
	case f.number("max_allowed_packet") < leastPacket:
		return p, fmt.Errorf("mysqlstore: max_allowed_packet is %d, so that answers of 1 MiB do not fit: set it to %d or more",
			f.number("max_allowed_packet"), leastPacket)
	case f.on("log_bin") && f.variables["binlog_format"] == "STATEMENT":
		return p, errors.New("mysqlstore: binlog_format is STATEMENT, and replicas would judge by other clocks: set it to ROW or MIXED")
	}
	if err := f.judgeConnection(); err != nil {
		return p, err
	}
	flush := f.variables["innodb_flush_log_at_trx_commit"]
	for _, doubt := range []struct {
		is   bool
		text string
	}{
		{flush != "1" && flush != "3", "innodb_flush_log_at_trx_commit is " + flush + ", so a crash forgets the last second"},
		{f.on("log_bin") && f.variables["sync_binlog"] != "1", "there is a binary log and sync_binlog is " + f.variables["sync_binlog"] +
			", so a power cut may take back what was committed last"},
		{f.variables["innodb_doublewrite"] == "OFF", "innodb_doublewrite is off, so a crash may tear a page"},
		{f.on("wsrep_on"), "it is a Galera cluster, of which a node may answer before it knows what another has committed"},
	} {
		if doubt.is {
			p.Doubts = append(p.Doubts, doubt.text)
		}
	}
	return p, nil
}

// judgeConnection refuses a pool on whose connections an "ok" means less than that something is committed, and a read more. The
// others of the pool are taken to be like the one that was asked.
func (f *facts) judgeConnection() error {
	const pool = "mysqlstore: the pool's connections have "
	isolation := cmp.Or(f.variables["transaction_isolation"], f.variables["tx_isolation"]) // before 11.1 MariaDB has the other one only
	switch {
	case !f.on("autocommit"):
		return errors.New(pool + "autocommit off, so that nothing would be committed of what is told to be: set autocommit = 1 where " +
			"the pool is made, or on the server, also in its init_connect")
	case f.variables["completion_type"] != "NO_CHAIN":
		return fmt.Errorf(pool+"completion_type %s, so that a COMMIT leaves them in another transaction or without a server: set "+
			"completion_type = NO_CHAIN where the pool is made, or on the server", f.variables["completion_type"])
	case isolation == "READ-UNCOMMITTED":
		return errors.New(pool + "the isolation READ-UNCOMMITTED, so that an outcome would be replayed that may never be committed: set " +
			"READ-COMMITTED or a higher one where the pool is made, or on the server")
	case f.on("in_transaction"): // MySQL does not tell
		return errors.New("mysqlstore: a connection of the pool is inside a transaction that somebody left open, so that nothing would be " +
			"committed of what is told to be: begin transactions with BeginTx only, not with a statement")
	default:
		return nil
	}
}

// dialect is where the servers differ.
type dialect struct {
	atOnce string // makes an insert fail instead of wait; empty where it cannot but wait
	probe  string // ends a read that holds what it has read, and fails instead of waits
}

func (f *facts) dialect() dialect {
	if f.maria {
		return dialect{"SET STATEMENT innodb_lock_wait_timeout = 0 FOR ", "LOCK IN SHARE MODE NOWAIT"}
	}
	return dialect{"", "FOR SHARE NOWAIT"}
}

// Clock is the time by which the server judges leases. It is for people who compare logs.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	var now int64
	const text = "SELECT TIMESTAMPDIFF(MICROSECOND, TIMESTAMP '1970-01-01 00:00:00', UTC_TIMESTAMP(6))"
	if err := s.db.QueryRowContext(ctx, text).Scan(&now); err != nil {
		return time.Time{}, failure(err)
	}
	return time.UnixMicro(now), nil
}
