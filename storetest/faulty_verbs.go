package storetest

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/onceward/onceward/driver"
)

// fault counts the call and chooses what happens to it.
func (f *Faulty) fault(v Verb) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[v]++
	switch {
	case len(f.next[v]) > 0:
		fault := f.next[v][0]
		f.next[v] = f.next[v][1:]
		return fault
	case f.always[v] != Fault{}:
		return f.always[v]
	case f.chance != nil:
		return f.chance()
	default:
		return Fault{}
	}
}

// do makes a call with whatever fault is its own. Call may run after do has returned, so what it refers to must not
// belong to the caller, and what it returns must not be looked at unless do returns nil.
func (f *Faulty) do(ctx context.Context, v Verb, call func(ctx context.Context) error) error {
	switch fault := f.fault(v); fault.kind {
	case refuse:
		return driver.ErrUnavailable
	case applyThenFail:
		_ = call(ctx) // whatever came of it, the caller does not learn it
		return ErrBroken
	case failThenApply, failThenApplyAfter:
		f.postpone(ctx, fault, call)
		return ErrBroken
	case delay:
		if err := f.wait(ctx, fault.after); err != nil {
			return err
		}
		return call(ctx)
	case holdCall:
		if err := fault.gate.pass(ctx); err != nil {
			return err
		}
		return call(ctx)
	case holdReply:
		err := call(ctx)
		if cut := fault.gate.pass(ctx); cut != nil {
			return cut
		}
		return err
	default:
		return call(ctx)
	}
}

func (f *Faulty) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-f.closed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// postpone keeps a call for later: until Apply, or for some time.
func (f *Faulty) postpone(ctx context.Context, fault Fault, call func(ctx context.Context) error) {
	ctx = context.WithoutCancel(ctx)
	c := &lateCall{call: func() { _ = call(ctx) }} // nobody is there to be told
	f.mu.Lock()
	defer f.mu.Unlock()
	select {
	case <-f.closed:
		return
	default:
	}
	f.pending = append(f.pending, c)
	if fault.kind == failThenApply {
		return
	}
	f.late.Go(func() {
		timer := time.NewTimer(fault.after)
		defer timer.Stop()
		select {
		case <-timer.C:
			c.once.Do(c.call)
		case <-f.closed:
		}
	})
}

// Acquire implements driver.Store.
func (f *Faulty) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	c.Also = slices.Clone(c.Also)
	return answered(ctx, f, VerbAcquire, func(ctx context.Context) (driver.Grant, error) { return f.store.Acquire(ctx, id, c) })
}

// Extend implements driver.Store.
func (f *Faulty) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	return f.do(ctx, VerbExtend, func(ctx context.Context) error { return f.store.Extend(ctx, id, o, e) })
}

// Complete implements driver.Store.
func (f *Faulty) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	out.Bytes = bytes.Clone(out.Bytes)
	return f.do(ctx, VerbComplete, func(ctx context.Context) error { return f.store.Complete(ctx, id, o, out) })
}

// Release implements driver.Store.
func (f *Faulty) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return f.do(ctx, VerbRelease, func(ctx context.Context) error { return f.store.Release(ctx, id, o, n) })
}

// Resolve implements driver.Store.
func (f *Faulty) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	if r.Outcome != nil {
		out := *r.Outcome
		out.Bytes = bytes.Clone(out.Bytes)
		r.Outcome = &out
	}
	return f.do(ctx, VerbResolve, func(ctx context.Context) error { return f.store.Resolve(ctx, id, r) })
}

// Get implements driver.Store.
func (f *Faulty) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	return answered(ctx, f, VerbGet, func(ctx context.Context) (driver.Record, error) { return f.store.Get(ctx, id) })
}

// answered is do for verbs that answer more than an error. The answer of a failed call is the zero value.
func answered[T any](ctx context.Context, f *Faulty, v Verb, call func(ctx context.Context) (T, error)) (T, error) {
	var a T
	err := f.do(ctx, v, func(ctx context.Context) (err error) {
		a, err = call(ctx)
		return err
	})
	if err != nil {
		var nothing T
		return nothing, err
	}
	return a, nil
}
