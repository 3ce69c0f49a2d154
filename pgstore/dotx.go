package pgstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/intx"
)

// DoTx runs fn in a transaction of its own, at most once to its end per key, and commits the effect together with the result, so
// that the effect happens exactly once during the retention. Whoever asks again gets the result.
//
// A result commits. An error of fn rolls its effect back and frees the key, also under hold, because nothing happened;
// [onceward.Final] rolls back and stores the error. While another caller runs it everybody else gets
// [onceward.ErrInProgress] at once, without waiting for that transaction. What loses against other transactions, by a
// serialization failure or a deadlock, is run again with the same input, a bounded number of times, so fn must do nothing that
// a rollback does not undo.
//
// The transaction has the isolation level that the pool's connections have by default. Fn must not end it, and must not keep it.
func DoTx[In, Out any](
	ctx context.Context, guard *onceward.Guard, store *Store, key onceward.Key, input In,
	fn func(ctx context.Context, tx pgx.Tx) (Out, error),
) (Out, error) {
	return intx.Do(ctx, guard, store.transactions, key, input, fn)
}

// Transactional makes an HTTP handler run in a transaction, which [TxFromContext] finds, and which is committed with its answer:
// it is for Options.Transactions of package oncehttp.
func Transactional(store *Store) *intx.Transactions[pgx.Tx] { return store.transactions }

// TxFromContext finds the transaction of the attempt whose context ctx is, as long as its function or handler runs.
func TxFromContext(ctx context.Context) (tx pgx.Tx, ok bool) { return intx.Tx[pgx.Tx](ctx) }

// tx is the transaction of an attempt as its function sees it.
type tx struct{ pgx.Tx }

var errNotYours = errors.New("pgstore: the transaction ends with the function: return a result to commit, or an error to roll back")

func (*tx) Commit(context.Context) error   { return errNotYours }
func (*tx) Rollback(context.Context) error { return errNotYours }

// close makes the transaction refuse everything. Its connection may be somebody else's by now.
func (t *tx) close() {
	var never pgx.Batch
	never.BeginTx(pgx.TxOptions{})
	t.Tx = pgx.FailedBatchResults(&never, pgx.ErrTxClosed).Tx()
}
