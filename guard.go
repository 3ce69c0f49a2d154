package onceward

import (
	"context"
	"errors"
	"fmt"

	"github.com/onceward/onceward/driver"
)

// Guard asks a store who may run, and keeps running attempts alive. Its methods are safe for concurrent use.
type Guard struct {
	*core
	store   driver.Store
	breaker *breaker
	rooms   *rooms
}

// core is what a guard shares with the guards that With makes of it.
type core struct {
	opts     Options
	backlog  backlog
	identity identity
}

// New makes a guard for a store. It asks the store once, whether it was used under the same identity rules, and
// refuses one that was not, or that cannot read them; a store that does not answer is asked again by the first Begin.
// Options may be nil. Close the guard when no more callers come.
func New(store driver.Store, opts *Options) (*Guard, error) {
	if store == nil {
		return nil, errors.New("onceward: New needs a store; memstore.New(nil) is the one to start with")
	}
	filled, err := opts.filled()
	if err != nil {
		return nil, err
	}
	g := &Guard{core: &core{opts: filled}, store: store, breaker: newBreaker(&filled)}
	g.backlog.init()
	g.rooms = newRooms(g)
	g.identity.init(g)
	err = g.checkIdentity(context.Background())
	if errors.Is(err, errIdentity) || errors.Is(err, driver.ErrUndecodable) { // neither gets better by asking again
		g.backlog.close(context.Background())
		return nil, err
	}
	if sweeper, ok := driver.As[driver.Sweeper](store); ok {
		g.backlog.run(func(ctx context.Context) { g.sweep(ctx, sweeper) })
	}
	return g, nil
}

// With returns a guard of the same options and background work on another store, such as one inside a database
// transaction. The rules of identity are those that the first guard's store agreed to. Closing it is not needed.
func (g *Guard) With(store driver.Store) *Guard {
	with := &Guard{core: g.core, store: store, breaker: newBreaker(&g.opts)}
	with.rooms = newRooms(with)
	return with
}

// Policy returns p as Begin takes it: its zero fields filled from the guard's, or what is wrong with it. p may be nil.
func (g *Guard) Policy(p *Policy) (Policy, error) {
	if p == nil {
		return g.opts.Policy, nil
	}
	full := p.over(g.opts.Policy)
	return full, full.validate()
}

// Lookup reads what is known of a key, without asking for it. The record of an absent key has PhaseAbsent. An error is a
// [RefusedError] with ErrUnavailable.
func (g *Guard) Lookup(ctx context.Context, key Key) (driver.Record, error) {
	if err := key.validate(); err != nil {
		return driver.Record{}, err
	}
	return g.get(ctx, key.ID())
}

func (g *Guard) get(ctx context.Context, id driver.ID) (driver.Record, error) {
	if err := g.breaker.allow(); err != nil {
		return driver.Record{}, unavailable(err)
	}
	call := g.call(ctx, "get")
	record, err := g.store.Get(call, id)
	g.judge(ctx, call.end(err))
	if err != nil {
		return driver.Record{}, unavailable(err)
	}
	return record, nil
}

// Resolve ends the doubt about a key: see [driver.Resolution]. An error that is driver.ErrLost means that the record is
// not in doubt, or has another fence than the resolution names.
func (g *Guard) Resolve(ctx context.Context, key Key, r driver.Resolution) error {
	if err := key.validate(); err != nil {
		return err
	}
	fill(&r.Note.Node, g.opts.Node)
	fill(&r.Note.TraceID, key.TraceID)
	id := key.ID()
	call := g.call(ctx, "resolve")
	err := call.end(g.store.Resolve(call, id, r))
	if decided(err) {
		g.answered(ctx)
	}
	switch {
	case errors.Is(err, driver.ErrLost):
		return fmt.Errorf("onceward: not resolved: the key is not in doubt, or has another fence than %d; look it up again: %w",
			r.Fence, err)
	case err != nil:
		return fmt.Errorf("onceward: it is not known whether this resolved the key; look it up: %w", err)
	}
	g.trace(ctx, Trace{Step: "resolved", ID: id, Labels: key.labels(), Fence: r.Fence, Reason: r.Note.Reason})
	g.rooms.changed(id)
	return nil
}

// Trace tells the guard's own hook and log what a door has noticed, such as a request that it refused before it asked.
func (g *Guard) Trace(ctx context.Context, t Trace) { g.trace(ctx, t) }

// Close waits until every outcome that the store did not take yet is stored, or ctx ends; then it gives up and says so.
// Attempts that still run may still complete. After Close every Begin is refused.
func (g *Guard) Close(ctx context.Context) error { return g.backlog.close(ctx) }
