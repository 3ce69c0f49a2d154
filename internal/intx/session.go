package intx

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/failpoint"
)

var (
	errNoTransaction = errors.New("there is no transaction here: the attempt runs unprotected, or was begun elsewhere")
	errOver          = errors.New("it has ended already")
	errInside        = errors.New("the function has completed the attempt itself, which would commit before it returns: let it " +
		"return its result instead")
	errOverrun = errors.New("the function ran longer than MaxExecution and a lease, so its transaction was ended")
)

// session is one attempt in a transaction. It is used by the goroutine that runs the attempt, by the guard's signs of
// life, and by its own timer.
type session[T any] struct {
	engine Engine[T]

	mu      sync.Mutex
	state   state
	using   bool  // its user has the transaction: nobody else may touch it, except to kill it
	keep    bool  // the user wants the effect to be committed
	refused error // why it cannot be
	work    Work[T]
	grant   driver.Grant
	claim   driver.Claim
	overrun *time.Timer

	again bool // surely nothing happened, and another turn may do better
}

type state int

const (
	idle state = iota
	held       // the transaction is open
	over
)

// acquire opens a transaction, and keeps it if the key is granted.
func (s *session[T]) acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != idle {
		return driver.Grant{Verdict: driver.Lost, Record: driver.Record{ID: id}}, nil
	}
	w, err := s.engine.Begin(ctx, id)
	if err != nil {
		return driver.Grant{}, err
	}
	grant := judge(w, id, &c)
	if grant.Verdict != driver.Acquired {
		w.Rollback()
		return grant, nil
	}
	failpoint.At(failpoint.AfterTake)
	s.state, s.work, s.grant, s.claim = held, w, grant, c
	s.overrun = time.AfterFunc(c.MaxExecution+c.Lease, s.kill)
	return grant, nil
}

// run lends the transaction to use.
func (s *session[T]) run(use func(tx T) (keep bool)) error {
	s.mu.Lock()
	if s.state != held {
		s.mu.Unlock()
		return errNoTransaction
	}
	s.using = true
	tx := s.work.Tx()
	s.mu.Unlock()
	keep := false
	defer func() { // also when use panics
		s.mu.Lock()
		defer s.mu.Unlock()
		s.using, s.keep = false, keep
	}()
	keep = use(tx)
	return s.refusal()
}

func (s *session[T]) refusal() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused
}

func (s *session[T]) tx() (tx T, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.using {
		return tx, false
	}
	return s.work.Tx(), true
}

// alive answers a sign of life without a statement: the user may be in the middle of one.
func (s *session[T]) alive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != held {
		return driver.ErrLost
	}
	return nil
}

// release rolls back: now, or when the user has done with the transaction.
func (s *session[T]) release() error {
	s.mu.Lock()
	using := s.using
	s.mu.Unlock()
	if !using {
		s.close()
	}
	return nil
}

// close ends the session. What was not committed is rolled back.
func (s *session[T]) close() {
	if w := s.end(); w != nil {
		w.Rollback()
	}
}

// end makes the session over, and returns its transaction the first time.
func (s *session[T]) end() Work[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.state
	s.state = over
	if before != held {
		return nil
	}
	s.overrun.Stop()
	return s.work
}

// kill ends the transaction of a user who does not come back, so that the key does not stay taken.
func (s *session[T]) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == held {
		s.refused = errOverrun
		s.work.Kill()
	}
}

// complete commits the effect with its outcome, or the outcome by itself.
func (s *session[T]) complete(ctx context.Context, out driver.Outcome) error {
	if s.forbidden() {
		return notCommitted(errInside)
	}
	w := s.end()
	if w == nil {
		return notCommitted(errOver)
	}
	defer w.Rollback()
	if s.keep {
		return s.commit(ctx, w, out)
	}
	w.Rollback()
	return s.storeAlone(ctx, out)
}

// forbidden reports whether the user is still working with the transaction.
func (s *session[T]) forbidden() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.using {
		s.refused = errInside
	}
	return s.using
}

// storeAlone stores an outcome whose effect was rolled back, in a transaction of its own. Who took the key in between, has
// it.
func (s *session[T]) storeAlone(ctx context.Context, out driver.Outcome) error {
	id := s.grant.Record.ID
	w, err := s.engine.Begin(ctx, id)
	if err != nil {
		return notCommitted(err)
	}
	defer w.Rollback()
	s.grant = judge(w, id, &s.claim)
	if s.grant.Verdict != driver.Acquired {
		s.again = true
		return notCommitted(fmt.Errorf("the key was taken meanwhile: %v", s.grant.Verdict))
	}
	return s.commit(ctx, w, out)
}

func (s *session[T]) commit(ctx context.Context, w Work[T], out driver.Outcome) error {
	r := &s.grant.Record
	failpoint.At(failpoint.BeforeCommit)
	err := w.Commit(ctx, Done{ID: r.ID, Claim: s.claim, Fence: r.Fence, Attempt: r.Attempt, Outcome: out})
	failpoint.At(failpoint.AfterCommit)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotCommitted):
		s.again = errors.Is(err, driver.ErrLost) || s.engine.Conflict(err)
		return notCommitted(err)
	default:
		w.Rollback()
		return s.settle(ctx, &out, err)
	}
}

func notCommitted(cause error) error { return fmt.Errorf("%w: %w", driver.ErrTransaction, cause) }
