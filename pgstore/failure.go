package pgstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceward/onceward/driver"
)

// onPool runs each statement as a transaction of its own.
type onPool struct{ pool *pgxpool.Pool }

func (p onPool) run(ctx context.Context, statement string, dest []any, args ...any) (found bool, err error) {
	err = p.with(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, statement, args...).Scan(dest...)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// with does something on a connection that is one transaction, again if the server undid it in favour of another.
func (p onPool) with(ctx context.Context, do func(conn *pgx.Conn) error) error {
	for {
		conn, err := p.pool.Acquire(ctx)
		if err != nil {
			return unsent(err)
		}
		err = do(conn.Conn())
		conn.Release()
		if !conflict(err) || ctx.Err() != nil {
			return failure(err)
		}
	}
}

// conflict reports whether the server undid a transaction so that others can go on: a serialization failure or a deadlock.
func conflict(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == "40001" || refused.Code == "40P01")
}

// unsent is the error of a connection that was not to be had.
func unsent(err error) error {
	var refused *pgconn.PgError
	hint := ""
	if errors.As(err, &refused) {
		hint = advice[refused.Code]
	}
	if hint != "" {
		return fmt.Errorf("%w: pgstore: no connection: %s: %w", driver.ErrUnavailable, hint, err)
	}
	return fmt.Errorf("%w: pgstore: no connection: %w", driver.ErrUnavailable, err)
}

// advice is what to do about what PostgreSQL refuses, by its code.
var advice = map[string]string{
	"25006": "it takes no writes; connect to the primary, and look at default_transaction_read_only",
	"26000": pooling,
	"28000": "check the user, the database and pg_hba.conf",
	"28P01": "check user and password",
	"3D000": "create the database, or name another one in the URL",
	"3F000": migrate,
	"42501": "give the user the rights that the package documentation lists",
	"42703": migrate,
	"42P01": migrate,
	"42P05": pooling,
	"53100": "the disk is full; make room, or keep outcomes for less long",
	"53200": "it is out of memory",
	"53300": "it has too many connections; lower pool_max_conns or raise max_connections",
	"57P03": "it is starting or stopping",
}

const (
	migrate = "run onceward migrate up --store URL"
	pooling = "a pool such as PgBouncer gives each transaction another connection; " +
		"add default_query_exec_mode=cache_describe to the URL, or set QueryExecModeCacheDescribe"
)

// failure is what an error of a statement means to the caller.
//
// A statement that was answered with an error was rolled back, because it is a transaction of its own. What ends the session
// may come when it had been committed, and so may a broken connection.
func failure(err error) error {
	var refused *pgconn.PgError
	switch {
	case err == nil || errors.Is(err, sql.ErrNoRows):
		return err
	case errors.As(err, &refused) && refused.SeverityUnlocalized == "ERROR":
		return refusal(refused.Code, err)
	case pgconn.SafeToRetry(err):
		return unsent(err)
	default:
		return fmt.Errorf("pgstore: outcome unknown: %w", err)
	}
}

func refusal(code string, err error) error {
	as := driver.ErrUnavailable
	if code == "53100" {
		as = driver.ErrFull
	}
	hint, ok := advice[code]
	if !ok {
		hint = "PostgreSQL refused the statement"
	}
	return fmt.Errorf("%w: pgstore: %s: %w", as, hint, err)
}
