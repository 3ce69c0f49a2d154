package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/onceward/onceward"
)

// connectionsToSQL is the size of the pool that all callers share.
const connectionsToSQL = 32

// database is a server of SQL, and what is measured on it: everything through one pool.
type database struct {
	server  *sqlServer
	version string

	// The plain statements, the store, and the store with its audit trail.
	plain, store, audited freshAndReplay
	// hasty are the plain statements where a commit waits for no disk, until it is over.
	hasty func() (p freshAndReplay, over func() error, err error)

	// An INSERT by itself; between the two plain statements; between those of the store; in one transaction with its outcome.
	effect, three, doOnce, doTx func(n int) error

	keep   func() error           // remembers what is there
	reset  func() error           // to what was kept, of which the planner of statements is told
	settle func() error           // leaves nothing to tidy up
	logged func() (uint64, error) // bytes so far in the log that commits wait for
	cancel context.CancelFunc
	close  []func()
}

func (d *database) closing(end func()) { d.close = append(d.close, end) }

func (d *database) end() error {
	for len(d.close) > 0 {
		last := len(d.close) - 1
		d.close[last]()
		d.close = d.close[:last]
	}
	d.cancel()
	return d.server.end()
}

func (d *database) used() (u usage, err error) {
	if u.Logged, err = d.logged(); err != nil {
		return u, err
	}
	u.Server, err = d.server.running.cpu()
	u.CPU = u.Server
	return u, err
}

func inTurn(n int, steps ...func(n int) error) error {
	for _, step := range steps {
		if err := step(n); err != nil {
			return err
		}
	}
	return nil
}

// theReceipt is an answer that is JSON.
var theReceipt = strings.Repeat("r", len(theAnswer)-len(`""`))

func paymentKey(n int) onceward.Key {
	return onceward.Key{Scope: "customer 7", Operation: "pay", Value: keyOf(n)}
}

// doOnce is the effect with its outcome kept beside it, in commits of their own.
func doOnce(ctx context.Context, guard *onceward.Guard, effect func(n int) error) func(n int) error {
	return ran(func(n int, told func()) (string, error) {
		return onceward.Do(ctx, guard, paymentKey(n), n, func(context.Context) (string, error) {
			told()
			return theReceipt, effect(n)
		})
	})
}

// ran checks that an operation on a fresh key ran, which it tells.
func ran(operation func(n int, told func()) (string, error)) func(n int) error {
	return func(n int) error {
		times := 0
		receipt, err := operation(n, func() { times++ })
		switch {
		case err != nil:
			return err
		case times == 0 || receipt != theReceipt:
			return fmt.Errorf("the fresh key %d ran %d times, and the receipt is %q", n, times, receipt)
		default:
			return nil
		}
	}
}

// shared is a database that the rows of a table share: to start one takes longer than to measure a row.
type shared struct {
	open func() (*database, error)
	*database
}

// begin is for the table. It makes outcomes, because how an empty table is read says nothing about any other.
func (s *shared) begin(t *table) func() (func(), error) {
	return func() (_ func(), err error) {
		if s.database, err = s.open(); err != nil {
			return nil, err
		}
		end := func() { _ = s.end() } // what was measured is over
		t.title += ", " + t.service.name + " " + s.version
		if err := errors.Join(fill(s.plain.fresh), fill(s.store.fresh), fill(s.store.replay), s.keep(), s.settle()); err != nil {
			end()
			return nil, err
		}
		return end, nil
	}
}

// fresh is a world of keys that nobody has used.
func (s *shared) fresh(do func(d *database, n int) error) func() (world, error) {
	return func() (w world, err error) {
		if err := s.reset(); err != nil {
			return w, err
		}
		return world{do: func(n int) error { return do(s.database, stored+n) }, close: func() {}, server: s.database}, nil
	}
}

// hastily is the same where plain statements wait for no disk.
func (s *shared) hastily() (w world, err error) {
	if err := s.reset(); err != nil {
		return w, err
	}
	p, over, err := s.hasty()
	if err != nil {
		return w, err
	}
	return world{do: func(n int) error { return p.fresh(stored + n) }, close: func() { _ = over() }, server: s.database}, nil
}

// replay is a world of the outcomes that were made.
func (s *shared) replay(do func(d *database, n int) error) func() (world, error) {
	return func() (world, error) {
		again := func(n int) error { return do(s.database, n%stored) }
		return world{do: again, close: func() {}, server: s.database}, nil
	}
}
