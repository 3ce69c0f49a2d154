package mysqlstore

import (
	"context"
	"database/sql"
	sqldriver "database/sql/driver"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/onceward/onceward/driver"
)

// The numbers of errors that decide what is done next.
const (
	duplicate   = 1062
	lockTimeout = 1205 // undoes the statement, and keeps its transaction unless innodb_rollback_on_timeout is on
	deadlock    = 1213
	rowChanged  = 1020 // of MariaDB with innodb_snapshot_isolation
	noTable     = 1146
	notAtOnce   = 3572 // MySQL's word for 1205 when nobody wanted to wait
	diskFull    = 1021
	tableFull   = 1114
)

// advice is what to do about errors that mean that the server has not done the statement. What is not here may have happened.
var advice = map[uint16]string{
	1040:        "it has too many connections: raise max_connections, or give each process fewer",
	1044:        "grant what the package documentation lists",
	1045:        "check user and password",
	1046:        "name the database in the URL",
	1047:        "the node is not ready: wait until it has joined its cluster",
	1049:        "there is no such database: create it, then run onceward migrate up",
	1054:        "the tables are not those of this version: run onceward migrate up",
	1062:        "somebody else was faster",
	1129:        "it refuses this host after too many errors: FLUSH HOSTS",
	1130:        "it refuses this host: check the user's host",
	1142:        "grant what the package documentation lists",
	1143:        "grant what the package documentation lists",
	noTable:     "a table is missing: run onceward migrate up",
	1153:        "raise max_allowed_packet",
	1203:        "the user has too many connections: raise max_user_connections",
	1226:        "the user has reached a limit of its account",
	1290:        "it is read-only: connect to the primary",
	1461:        "raise max_prepared_stmt_count, or give each process fewer connections",
	1665:        "set binlog_format to ROW or MIXED",
	1792:        "it is read-only: connect to the primary",
	1836:        "it is read-only: connect to the primary",
	lockTimeout: "another transaction holds the key: end transactions sooner",
	deadlock:    "it was the victim of a deadlock: try again",
	notAtOnce:   "another transaction holds the key",
	diskFull:    "its disk is full",
	tableFull:   "its tablespace is full, or its disk",
}

func number(err error) uint16 {
	if e := (*mysql.MySQLError)(nil); errors.As(err, &e) {
		return e.Number
	}
	return 0
}

func isDuplicate(err error) bool { return number(err) == duplicate }
func isDeadlock(err error) bool  { return number(err) == deadlock }

// isHeld reports whether a statement that would not wait has met a row that somebody holds.
func isHeld(err error) bool { return number(err) == lockTimeout || number(err) == notAtOnce }

// failure is what an error of a call means to its caller. What no connection was made for, and what was answered with an error
// that is known to come before the deed, was not done. All else may have happened.
func failure(err error) error {
	var op *net.OpError
	hint, refused := advice[number(err)]
	switch {
	case err == nil, errors.Is(err, driver.ErrUnavailable), errors.Is(err, driver.ErrLost):
		return err
	case number(err) == diskFull, number(err) == tableFull:
		return fmt.Errorf("%w: mysqlstore: %s: %w", driver.ErrFull, hint, err)
	case refused:
		return fmt.Errorf("%w: mysqlstore: %s: %w", driver.ErrUnavailable, hint, err)
	case errors.Is(err, sqldriver.ErrBadConn), errors.As(err, &op) && op.Op == "dial":
		return fmt.Errorf("%w: mysqlstore: no connection: %w", driver.ErrUnavailable, err)
	default:
		return fmt.Errorf("mysqlstore: outcome unknown: %w", err)
	}
}

// undone is the error of a call whose transaction was not committed, whatever it was.
func undone(err error) error {
	known := failure(err)
	if errors.Is(known, driver.ErrUnavailable) || errors.Is(known, driver.ErrLost) {
		return known
	}
	return fmt.Errorf("%w: mysqlstore: rolled back: %w", driver.ErrUnavailable, err)
}

// inTx makes a transition in a transaction of its own, again if it lost against others.
func (s *Store) inTx(ctx context.Context, f func(v verbs) error) error {
	for {
		err := s.once(ctx, f)
		if !errors.Is(err, errAgain) && !isDeadlock(err) {
			return err
		}
		if err := ended(ctx); err != nil {
			return err
		}
	}
}

func (s *Store) once(ctx context.Context, f func(v verbs) error) error {
	tx, err := s.db.BeginTx(ctx, readCommitted)
	if err != nil {
		return undone(err)
	}
	if err := f(verbs{session{&s.stmt, tx}, s.audit}); err != nil {
		rollBack(tx)
		return undone(err)
	}
	return commit(ctx, tx)
}

// readCommitted is for all transactions of this package. With the server's default they would keep others from inserting
// neighbours.
var readCommitted = &sql.TxOptions{Isolation: sql.LevelReadCommitted}

// commit returns an error that is driver.ErrUnavailable when the transaction was surely not committed.
func commit(ctx context.Context, tx *sql.Tx) error {
	err := end(ctx, tx, "COMMIT")
	if errors.Is(err, sql.ErrTxDone) { // it was not sent
		return undone(err)
	}
	return failure(err)
}

// soon is how long somebody waits for a transaction to be rolled back.
const soon = 2 * time.Second

func rollBack(tx *sql.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), soon)
	defer cancel()
	_ = end(ctx, tx, "ROLLBACK")
}

// end makes the last statement of a transaction and gives its connection back, closed if it does not answer as long as ctx lives.
// What database/sql has for it waits for ever, and others with it who only want to close a statement.
func end(ctx context.Context, tx *sql.Tx, word string) error {
	_, err := tx.ExecContext(ctx, word)
	_ = within(ctx, tx.Rollback)
	return err
}

// within waits for what knows no context as long as ctx lives.
func within(ctx context.Context, call func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
