package onceward

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// call is one call of the store and its context: the caller's, bounded by StoreTimeout. Most calls end without anybody
// waiting for that bound, so its timer is made only when the store asks for Done.
type call struct {
	context.Context //nolint:containedctx // it is wrapped, as the context package wraps its own

	guard    *Guard
	verb     string
	sent     time.Time
	deadline time.Time

	mu     sync.Mutex
	timed  context.Context //nolint:containedctx // the same context, with a timer
	cancel context.CancelFunc
}

func (g *Guard) call(ctx context.Context, verb string) *call {
	c := new(call)
	c.begin(ctx, g, verb)
	return c
}

func (c *call) begin(ctx context.Context, g *Guard, verb string) {
	c.Context, c.guard, c.verb = ctx, g, verb
	c.sent = time.Now()
	c.deadline = c.sent.Add(g.opts.StoreTimeout)
}

// Deadline is the sooner one of the caller's and the bound.
func (c *call) Deadline() (time.Time, bool) {
	if sooner, ok := c.Context.Deadline(); ok && sooner.Before(c.deadline) {
		return sooner, true
	}
	return c.deadline, true
}

func (c *call) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
	}
	return c.timed.Done()
}

func (c *call) Err() error {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// end traces what the store answered and returns it.
func (c *call) end(err error) error {
	c.mu.Lock()
	if c.cancel != nil {
		c.cancel()
	}
	c.mu.Unlock()
	if c.guard.traced() {
		c.guard.trace(c.Context, Trace{Step: "store-call", Verb: c.verb, Took: time.Since(c.sent), Err: err})
	}
	return err
}

// judge tells the breaker how a call went. A caller that left, and an error that speaks of one key or of new keys only,
// say nothing about the store.
func (g *Guard) judge(ctx context.Context, err error) {
	switch {
	case err == nil, errors.Is(err, driver.ErrFull), errors.Is(err, driver.ErrUndecodable):
		g.answered(ctx)
	case ctx.Err() != nil:
		g.breaker.abstain()
	default:
		if g.breaker.failed() {
			g.trace(ctx, Trace{Step: "breaker-open", Err: err})
		}
	}
}

// answered tells the breaker that the store works.
func (g *Guard) answered(ctx context.Context) {
	if g.breaker.worked() {
		g.trace(ctx, Trace{Step: "breaker-closed"})
	}
}

func unavailable(cause error) *RefusedError {
	return &RefusedError{Reason: ErrUnavailable, Cause: cause, RetryAfter: time.Second}
}
