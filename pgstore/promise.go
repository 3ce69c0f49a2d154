package pgstore

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward/driver"
)

// Promise is what a server can keep.
type Promise struct {
	// Server is its name and version, such as "PostgreSQL 15.14".
	Server string
	// Doubts are the reasons why nothing is guaranteed. Without any the server is durable.
	Doubts []string
	// Notes are worth knowing and take nothing from the promise.
	Notes []string
}

// String is the promise in a sentence.
func (p Promise) String() string {
	if len(p.Doubts) == 0 {
		return "durable: under hold an operation starts at most once per key"
	}
	return "best effort, an operation may run again: " + strings.Join(p.Doubts, "; ")
}

// oldest is the first version on which all of this works.
const oldest = 130000

// facts are what a server says of itself.
type facts struct {
	version                                      string
	number                                       int64
	standby                                      bool
	readOnly, fsync, fullPages, commit, standbys string
	ownsTrail                                    bool
	pooled                                       bool // something stands between us and the server
	prepared                                     bool // pgx keeps prepared statements
}

func (s *Store) inspect(ctx context.Context) (Promise, error) {
	var f facts
	_, err := s.on.run(ctx, s.sql["inspect"], []any{
		&f.version, &f.number, &f.standby, &f.readOnly, &f.fsync, &f.fullPages, &f.commit, &f.standbys, &f.ownsTrail,
	}, s.schema)
	if err == nil {
		f.prepared = s.pool.Config().ConnConfig.DefaultQueryExecMode == pgx.QueryExecModeCacheStatement
		f.pooled, err = s.pooled(ctx)
	}
	if err != nil {
		return Promise{}, err
	}
	s.ownsTrail = f.ownsTrail
	return f.judge(s.audit)
}

// pooled reports whether the process that answers is another one than we are connected to, as with PgBouncer.
func (s *Store) pooled(ctx context.Context) (bool, error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, unsent(err)
	}
	defer conn.Release()
	var pid int64
	err = conn.QueryRow(ctx, "SELECT pg_backend_pid()::bigint").Scan(&pid)
	return pid != int64(conn.Conn().PgConn().PID()), failure(err)
}

// judge returns what the server can keep, and an error if it cannot be used.
func (f *facts) judge(audit driver.AuditLevel) (p Promise, err error) {
	switch {
	case f.number < oldest:
		return p, fmt.Errorf("pgstore: the server is PostgreSQL %s, use 13 or later", f.version)
	case f.standby:
		return p, fmt.Errorf("%w: pgstore: the server is a standby: connect to the primary, such as with target_session_attrs=read-write",
			driver.ErrUnavailable)
	case f.readOnly == "on":
		return p, fmt.Errorf("%w: pgstore: %s", driver.ErrUnavailable, advice["25006"])
	}
	p.Server = "PostgreSQL " + f.version
	for setting, value := range map[string]string{"fsync": f.fsync, "full_page_writes": f.fullPages} {
		if value != "on" {
			p.Doubts = append(p.Doubts, setting+" is "+value+", so a crash of the machine loses or spoils what was acknowledged")
		}
	}
	if f.commit == "off" {
		p.Doubts = append(p.Doubts, "synchronous_commit is off, so a crash forgets the last second")
	}
	switch {
	case f.standbys == "":
		p.Notes = append(p.Notes, "no standby is synchronous: a failover forgets what had not arrived there")
	case f.commit == "local":
		p.Notes = append(p.Notes, "synchronous_commit is local, so that synchronous_standby_names has no effect")
	default:
		p.Notes = append(p.Notes, "commits wait for "+f.standbys)
	}
	switch {
	case f.pooled && f.prepared:
		p.Notes = append(p.Notes, "a pooler is in between: if it knows nothing of prepared statements, as PgBouncer before 1.21 or with "+
			"max_prepared_statements = 0, add default_query_exec_mode=cache_describe to the URL, or calls fail under load")
	case f.pooled:
		p.Notes = append(p.Notes, "a pooler is in between, and no prepared statements are kept")
	}
	if f.standbys != "" {
		p.Notes = append(p.Notes, "a call that gives up while a synchronous standby is away ends that wait: what it wrote can be seen, "+
			"and a failover would forget it")
	}
	if audit != driver.AuditOff && !f.ownsTrail {
		p.Notes = append(p.Notes, "the trail is kept in one partition and deleted by row, because this user may not make partitions")
	}
	return p, nil
}

// Clock is the time by which the server judges leases. It is for people who compare logs.
func (s *Store) Clock(ctx context.Context) (now time.Time, err error) {
	_, err = s.on.run(ctx, "SELECT clock_timestamp()", []any{&now})
	return now, err
}
