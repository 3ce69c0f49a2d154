package pgstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/intx"
)

// engine opens transactions for attempts, see [intx.Engine].
type engine struct{ *Store }

// Begin implements [intx.Engine] in one round trip. Each of its statements sees what was committed before it began, so the
// last one sees what the last holder of the key has left.
func (e engine) Begin(ctx context.Context, id driver.ID) (intx.Work[pgx.Tx], error) {
	conn, err := e.pool.Acquire(ctx)
	if err != nil {
		return nil, unsent(err)
	}
	w := &work{store: e.Store, id: id, conn: conn, socket: conn.Conn().PgConn().Conn()}
	var batch pgx.Batch
	batch.BeginTx(pgx.TxOptions{})
	batch.Queue(e.sql["lock"], e.lockOf(id))
	batch.Queue(e.sql["get"], id[:])
	if err := w.open(conn.SendBatch(ctx, &batch)); err != nil {
		w.Rollback()
		return nil, failure(err)
	}
	if w.seen.status == known {
		if err := w.seen.readable(id); err != nil {
			w.Rollback()
			return nil, err
		}
	}
	return w, nil
}

// Conflict implements [intx.Engine].
func (e engine) Conflict(err error) bool { return conflict(err) }

// work is a transaction that holds a key.
type work struct {
	store  *Store
	conn   *pgxpool.Conn // nil when it was given back
	tx     tx
	socket net.Conn // under conn, for Kill
	id     driver.ID
	taken  bool
	seen   row // its status is 0 when there was none
}

func (w *work) open(results pgx.BatchResults) (err error) {
	defer func() { err = cmp.Or(err, results.Close()) }()
	w.tx.Tx = results.Tx()
	if _, err := results.Exec(); err != nil {
		return err
	}
	if err := results.QueryRow().Scan(&w.taken); err != nil {
		return err
	}
	err = results.QueryRow().Scan(w.seen.dest()...)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

func (w *work) Tx() pgx.Tx { return &w.tx }

func (w *work) Taken() bool { return w.taken }

func (w *work) Seen() driver.Record {
	if w.seen.status != known {
		return driver.Record{ID: w.id}
	}
	r := w.seen.record(w.id)
	r.Fence, r.Left = uint64(w.seen.fence), w.seen.expires.Sub(w.seen.now)
	return r
}

func (w *work) SeenOwner() (o driver.Owner) {
	copy(o[:], w.seen.owner)
	return o
}

// Commit writes the record and commits in one round trip.
func (w *work) Commit(ctx context.Context, done intx.Done) error {
	if w.conn.Conn().PgConn().TxStatus() != 'T' {
		return fmt.Errorf("%w: pgstore: a statement in it had failed, or it was ended already", intx.ErrNotCommitted)
	}
	w.tx.close()
	c, out := &done.Claim, &done.Outcome
	c.Note = out.Note
	how, args := "done", append(claimArgs(done.ID, c), int64(done.Fence), int64(done.Attempt), int64(out.Kind),
		stored(out.Bytes), digest(out.Bytes), micros(cmp.Or(out.Retain, c.Retain)))
	if s := &w.seen; s.status == known {
		how, args = "redone", append(args, s.owner, s.fence, s.phase, !s.absent())
	}
	var batch pgx.Batch
	batch.Queue(w.store.sql[how], args...)
	batch.Queue("COMMIT")
	return notCommitted(commit(w.conn.SendBatch(ctx, &batch)))
}

var errAnsweredRollback = fmt.Errorf("%w: pgstore: COMMIT answered ROLLBACK", intx.ErrNotCommitted)

func commit(results pgx.BatchResults) (err error) {
	defer func() { err = cmp.Or(err, results.Close()) }()
	if _, err := results.Exec(); err != nil {
		return err
	}
	tag, err := results.Exec()
	if err == nil && tag.String() != "COMMIT" {
		return errAnsweredRollback
	}
	return err
}

// notCommitted says so of an error if it is sure.
func notCommitted(err error) error {
	var refused *pgconn.PgError
	answered := errors.As(err, &refused) && refused.SeverityUnlocalized == "ERROR"
	switch {
	case answered && refused.Code == "22012": // 1 / 0 rows
		return fmt.Errorf("%w: %w: pgstore: the record is not as it was seen", intx.ErrNotCommitted, driver.ErrLost)
	case answered || pgconn.SafeToRetry(err):
		return fmt.Errorf("%w: %w", intx.ErrNotCommitted, failure(err))
	default:
		return err
	}
}

// rollbackTime is how long a connection may take to answer before it is closed instead.
const rollbackTime = time.Second

func (w *work) Rollback() {
	if w.conn == nil {
		return
	}
	w.tx.close()
	if w.conn.Conn().PgConn().TxStatus() != 'I' {
		ctx, cancel := context.WithTimeout(context.Background(), rollbackTime)
		defer cancel()
		_, _ = w.conn.Exec(ctx, "ROLLBACK") // or it is closed
	}
	w.conn.Release()
	w.conn = nil
}

func (w *work) Kill() { _ = w.socket.Close() }
