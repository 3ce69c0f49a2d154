package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
)

// sqlClient is a pool of connections to a database.
type sqlClient interface {
	exec(statement string, args ...any) (rows int64, err error)
	row(statement string, args ...any) scanner
	prepare(statements ...string) error

	openStore(audit driver.AuditLevel) (sqlStore, error)
	// doTx is the effect in one transaction with its outcome.
	doTx(guard *onceward.Guard, store driver.Store, n int, told func()) (receipt string, err error)
	// hasty is a client for which a commit waits for no disk, until it is over.
	hasty() (c sqlClient, over func() error, err error)
}

type scanner interface{ Scan(to ...any) error }

type sqlStore interface {
	driver.Store
	Close()
}

// dialect is the statements of a kind of database. Those that are alike take their arguments in the same order.
type dialect struct {
	tables               []string
	insert, update, read string
	effect               string // the operation
	keep, reset, settle  []string
	logged, version      string
}

// openDatabase opens what is measured on a server that has just been started.
func openDatabase(
	server *sqlServer, open func(ctx context.Context, d *database) (sqlClient, error), statements *dialect,
) (*database, error) {
	ctx, cancel := context.WithCancel(context.Background()) // the context of a request can end
	d := &database{server: server, cancel: cancel}
	client, err := open(ctx, d)
	if err == nil {
		err = d.measure(ctx, &plain{client, statements})
	}
	if err != nil {
		return nil, errors.Join(err, d.end())
	}
	return d, nil
}

func (d *database) measure(ctx context.Context, p *plain) error {
	if err := errors.Join(p.each(p.tables), p.prepare(p.insert, p.update, p.read, p.dialect.effect)); err != nil {
		return err
	}
	store, err := d.openStore(p, driver.AuditOff)
	if err != nil {
		return err
	}
	audited, err := d.openStore(p, driver.AuditTransitions)
	if err != nil {
		return err
	}
	guard, err := onceward.New(store, nil)
	if err != nil {
		return err
	}
	d.closing(func() { _ = guard.Close(ctx) })

	d.plain, d.store, d.audited = p, &pairs{ctx, store, idOf, theClaim()}, &pairs{ctx, audited, idOf, theClaim()}
	d.hasty = func() (freshAndReplay, func() error, error) {
		c, over, err := p.hasty()
		return &plain{c, p.dialect}, over, err
	}
	d.effect, d.three, d.doOnce = p.effect, p.three, doOnce(ctx, guard, p.effect)
	d.doTx = ran(func(n int, told func()) (string, error) { return p.doTx(guard, store, n, told) })

	d.keep = func() error { return p.each(p.keep) }
	d.reset = func() error { return p.each(p.reset) }
	d.settle = func() error { return p.each(p.settle) }
	d.logged = func() (n uint64, err error) { return n, p.row(p.logged).Scan(&n) }
	return p.row(p.version).Scan(&d.version)
}

func (d *database) openStore(c sqlClient, audit driver.AuditLevel) (driver.Store, error) {
	s, err := c.openStore(audit)
	if err != nil {
		return nil, err
	}
	d.closing(s.Close)
	return s, nil
}

// plain is what somebody writes who needs an INSERT before an operation, an UPDATE after it and a SELECT for a repetition, and
// nothing else.
type plain struct {
	sqlClient
	*dialect
}

func (p *plain) each(statements []string) error {
	for _, statement := range statements {
		if _, err := p.exec(statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func (p *plain) begin(n int) error {
	id, c := idOf(n), theClaim()
	_, err := p.exec(p.insert, id[:], c.Owner[:], []byte(c.Fingerprint.Sum), []byte(c.Labels.Operation))
	return err
}

func (p *plain) end(n int) error {
	id, c := idOf(n), theClaim()
	changed, err := p.exec(p.update, theAnswer, id[:], c.Owner[:])
	if err == nil && changed != 1 {
		err = fmt.Errorf("the fresh key %d does not run", n)
	}
	return err
}

func (p *plain) effect(n int) error {
	_, err := p.exec(p.dialect.effect, n)
	return err
}

func (p *plain) fresh(n int) error { return inTurn(n, p.begin, p.end) }

func (p *plain) three(n int) error { return inTurn(n, p.begin, p.effect, p.end) }

func (p *plain) replay(n int) error {
	var r [4][]byte
	var state int64
	id := idOf(n)
	err := p.row(p.read, id[:]).Scan(&r[0], &state, &r[1], &r[2], &r[3])
	if err == nil && len(r[3]) != len(theAnswer) {
		err = fmt.Errorf("the done key %d has an answer of %d bytes", n, len(r[3]))
	}
	return err
}
