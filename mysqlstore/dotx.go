package mysqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/intx"
)

// DoTx is [onceward.Do] with fn in a transaction that is committed together with the result, so that both happen or neither:
// exactly once per key during the retention. A duplicate is told ErrInProgress at once, while the first one runs.
//
// An error of fn rolls its effect back and releases the key; [onceward.Final] rolls back and stores the error. A panic rolls
// back, releases, and goes on. When the transaction was the victim of a deadlock all of it is done again, fn too. Fn must not
// end the transaction, and should not change tables: both commit what was done so far before there is an outcome, and a crash
// at that moment lets a retry do it again. Fn must return the errors of its statements: a deadlock undoes the transaction on the
// server, all of it is done again also if fn ignores that, and what fn changes after it is committed by itself.
//
// The transaction is READ COMMITTED. On MySQL, two callers who ask for a new key at the very same moment wait for each other.
func DoTx[In, Out any](
	ctx context.Context, guard *onceward.Guard, s *Store, key onceward.Key, input In,
	fn func(ctx context.Context, tx *sql.Tx) (Out, error),
) (Out, error) {
	return intx.Do(ctx, guard, s.transactions, key, input, fn)
}

// Transactional makes an HTTP handler run in a transaction, which [TxFromContext] finds, and which is committed with its answer:
// it is for the Transactions of oncehttp's options.
func Transactional(s *Store) *intx.Transactions[*sql.Tx] { return s.transactions }

// TxFromContext finds the transaction of the attempt whose context ctx is, as long as its function or handler runs.
func TxFromContext(ctx context.Context) (tx *sql.Tx, ok bool) { return intx.Tx[*sql.Tx](ctx) }

// engine is the store for package intx.
type engine struct{ *Store }

var _ intx.Engine[*sql.Tx] = engine{}

// Conflict implements [intx.Engine].
func (engine) Conflict(err error) bool {
	return number(err) == deadlock || number(err) == rowChanged
}

// Begin implements [intx.Engine]. A key of which there is no row is taken at once. One that is known and may not be acquired is
// only read, outside of a transaction, so that replays meet no lock. So is one that is held: it may be that somebody only confirms
// that it is done.
func (e engine) Begin(ctx context.Context, id driver.ID) (intx.Work[*sql.Tx], error) {
	for known := false; ; {
		w, err := e.open(ctx, id, known)
		held := isHeld(err)
		if err == nil {
			return w, nil
		}
		if !held && !errors.Is(err, errAgain) {
			return nil, undone(err)
		}
		r, err := e.look(ctx, id)
		if err != nil {
			return nil, undone(err)
		}
		if held || !r.free() {
			return &work{store: e.Store, id: id, seen: r, taken: held}, nil
		}
		known = r != nil
	}
}

// free reports whether some claim may acquire it.
func (r *row) free() bool {
	return r.absent() || r.Phase == driver.PhaseRunning && r.Lease <= 0 && r.Rerunnable()
}

// open begins a transaction and takes the key: the row of a known one, or the place where it is to be. The error errAgain means
// that it was known, or is not any more, or may not be acquired any more; one for which isHeld is true that others hold it.
func (e engine) open(ctx context.Context, id driver.ID, known bool) (*work, error) {
	// The transaction outlives ctx, but not if ctx ends before it has begun.
	life, kill := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, kill)
	defer stop()
	tx, err := e.db.BeginTx(life, readCommitted)
	if err != nil {
		kill()
		return nil, err
	}
	w := &work{store: e.Store, id: id, tx: tx, kill: kill, verbs: verbs{session{&e.stmt, tx}, e.audit}}
	if known {
		err = w.occupy(ctx)
	} else {
		err = w.reserve(ctx)
	}
	if err != nil {
		w.Rollback()
		return nil, err
	}
	return w, nil
}

// work implements [intx.Work].
type work struct {
	store *Store
	id    driver.ID
	taken bool
	seen  *row // nil: there is nothing

	// There are none where there is nothing to commit.
	place *row // stands, uncommitted, for the row that is to be
	tx    *sql.Tx
	kill  context.CancelFunc
	verbs verbs
}

// nobody is the owner of a place. If the function, or the server for it, ends the transaction before its time, it shows whether
// that was committed: nothing else can write it.
func nobody() (o driver.Owner) {
	_, _ = rand.Read(o[:]) // never fails: it ends the program instead
	return o
}

// vacant is a residue of nobody, which others, should they ever see it, take for a key that is free. It lasts long enough for
// its outcome to be stored.
func (w *work) vacant(fence uint64) *row { return newResidue(w.id, nobody(), fence, time.Hour) }

// occupy takes a key of which there is a row that some claim may acquire. To hold the row is not enough: if the server rolls the
// transaction back and the function does not notice, the row is as it was seen, and the outcome would be stored without its
// effect.
func (w *work) occupy(ctx context.Context) (err error) {
	w.seen, err = w.verbs.row(ctx, w.verbs.stmt.seize, w.id)
	switch {
	case err != nil:
		return err
	case w.seen == nil || !w.seen.free():
		return errAgain
	case w.seen.absent():
		w.place = w.vacant(w.seen.Fence)
	default:
		place := *w.seen
		place.owner, w.place = nobody(), &place
	}
	return w.verbs.write(ctx, w.verbs.stmt.update, w.place)
}

// reserve takes a key of which there is no row.
//
// A read that does not wait tells whether it is a row that an insert has met, also one that is not committed, and at READ
// COMMITTED holds nothing where there is none. Where inserts cannot but wait it comes first, and elsewhere last: a neighbour may
// have been in the way.
func (w *work) reserve(ctx context.Context) (err error) {
	w.place = w.vacant(0)
	probeFirst := w.store.dialect.atOnce == ""
	for range 10 {
		if probeFirst {
			r, err := w.verbs.row(ctx, w.verbs.stmt.probe, w.id)
			if err == nil && r != nil {
				err = errAgain
			}
			if err != nil {
				return err
			}
		}
		if err = w.verbs.write(ctx, w.verbs.stmt.take, w.place); !isHeld(err) || w.store.timeoutIsAll {
			break // what came after an error that ends the transaction would be committed by itself
		}
		probeFirst = true
	}
	if isDuplicate(err) {
		err = errAgain
	}
	return err
}

// Tx implements [intx.Work].
func (w *work) Tx() *sql.Tx { return w.tx }

// Taken implements [intx.Work].
func (w *work) Taken() bool { return w.taken }

// Seen implements [intx.Work].
func (w *work) Seen() driver.Record {
	if w.seen == nil {
		return driver.Record{ID: w.id}
	}
	return w.seen.Record
}

// SeenOwner implements [intx.Work].
func (w *work) SeenOwner() driver.Owner {
	if w.seen == nil {
		return driver.Owner{}
	}
	return w.seen.owner
}

// Commit implements [intx.Work].
func (w *work) Commit(ctx context.Context, done intx.Done) error {
	defer w.Rollback()
	if w.place == nil {
		return fmt.Errorf("%w: mysqlstore: the key is not held", intx.ErrNotCommitted)
	}
	err := w.write(ctx, w.verbs, &done)
	if errors.Is(err, sql.ErrTxDone) {
		return w.settle(ctx, &done)
	}
	if err != nil {
		return notCommitted(err)
	}
	err = commit(ctx, w.tx)
	if errors.Is(err, driver.ErrUnavailable) {
		return notCommitted(err)
	}
	return err
}

// write makes the row a done one, if the place is still there.
func (w *work) write(ctx context.Context, v verbs, done *intx.Done) error {
	was := w.place
	next := newRow(w.id, &done.Claim, done.Fence)
	step := driver.StepAcquired
	if !was.absent() {
		kept := *was
		next, step = &kept, driver.StepTakenOver
		next.takeOver(&done.Claim)
	}
	next.Fence, next.Attempt = done.Fence, done.Attempt
	if err := w.store.ready(ctx, &row{Record: driver.Record{Labels: next.Labels, Note: next.Note, Outcome: done.Outcome}}); err != nil {
		return err
	}
	began := *next
	next.complete(&done.Outcome)
	args := append(next.fields(), w.id[:], was.owner[:], was.Fence, byte(was.Phase))
	changed, err := v.change(ctx, v.stmt.finish, args...)
	if err == nil && changed == 0 {
		err = driver.ErrLost
	}
	if err == nil {
		err = v.tell(ctx, &began, step, began.Note)
	}
	if err == nil {
		err = v.tell(ctx, next, driver.StepCompleted, next.Note)
	}
	return err
}

// settle stores the outcome when the function has ended its transaction by itself. If it has committed, the place is there,
// and so is the effect.
func (w *work) settle(ctx context.Context, done *intx.Done) error {
	err := w.store.inTx(ctx, func(v verbs) error { return w.write(ctx, v, done) })
	if errors.Is(err, driver.ErrLost) {
		return fmt.Errorf("%w: mysqlstore: it has ended before its outcome could be stored", intx.ErrNotCommitted)
	}
	if err != nil {
		return notCommitted(err)
	}
	w.store.log.Warn("mysqlstore: a function has committed its transaction by itself; a crash before its outcome was stored "+
		"would have let a retry do everything again", "id", w.id.Short(), "operation", done.Claim.Labels.Operation)
	return nil
}

func notCommitted(err error) error { return fmt.Errorf("%w: %w", intx.ErrNotCommitted, failure(err)) }

// Rollback implements [intx.Work].
func (w *work) Rollback() {
	if w.tx == nil {
		return
	}
	rollBack(w.tx)
	w.kill()
}

// Kill implements [intx.Work]. The statement that is under way may still end by itself; nothing can come after it.
func (w *work) Kill() {
	if w.kill != nil {
		w.kill()
	}
}
