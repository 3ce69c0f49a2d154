package storetest

import (
	"bytes"
	"context"
	"errors"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward/driver"
)

// Rules 11, 12 and 13: how calls end.

// interruptions are contexts that end before a call, or some time into it.
func interruptions() map[string]func() (context.Context, context.CancelFunc) {
	all := map[string]func() (context.Context, context.CancelFunc){
		"a cancelled context": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(bg)
			cancel()
			return ctx, cancel
		},
		"a deadline in the past": func() (context.Context, context.CancelFunc) {
			return context.WithDeadline(bg, time.Now().Add(-time.Second))
		},
	}
	for _, d := range []time.Duration{10, 30, 100, 300, 1000, 3000} {
		d *= time.Microsecond
		all["a deadline in "+d.String()] = func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(bg, d)
		}
	}
	return all
}

func cancelledContexts(t *trial) {
	for what, interrupted := range interruptions() {
		for _, st := range steps {
			t.punctual(func() (late bool) { return t.interrupt(st, what, interrupted) })
		}
		t.punctual(func() (late bool) {
			ctx, cancel := interrupted()
			defer cancel()
			return t.waits(during(func() { _, _ = t.store.Get(ctx, newID()) }))
		})
	}
}

// waits reports whether a call took so long that it must have waited for something, unless the machine stalled.
func (t *trial) waits(call span) bool { return call.to.Sub(call.from) > t.opts.Unit }

// interrupt interrupts a step, and reports whether the call went on nevertheless.
func (t *trial) interrupt(st step, what string, interrupted func() (context.Context, context.CancelFunc)) (late bool) {
	t.Helper()
	id, c := st.prepare(t, t.store)
	before := t.read(id)
	ctx, cancel := interrupted()
	var err error
	late = t.waits(during(func() { err = st.call(ctx, t.store, id, c) }))
	cancel()
	after := t.read(id)
	happened := st.happened(after.Record)
	if !happened && t.compare(after, before) != "" {
		t.fatalf("%s with %s returned %v and left half a step:\n\t%+v\nbefore it was\n\t%+v",
			st.name, what, errorText(err), after.Record, before.Record)
	}
	if err == nil && !happened {
		t.fatalf("%s with %s succeeded, but the record is\n\t%+v", st.name, what, after.Record)
	}
	t.notStuck(id, c, st.name+" with "+what)
	return late
}

// notStuck checks that the owner of an interrupted call is told where it stands. Which of three it is may still be open:
// a call that was cut off on its way can arrive at any moment.
func (t *trial) notStuck(id driver.ID, c driver.Claim, what string) {
	t.Helper()
	switch v := t.acquire(id, c).Verdict; v {
	case driver.Acquired, driver.Done, driver.Lost:
	default:
		t.fatalf("after %s, Acquire repeated by the owner is answered %v", what, v)
	}
}

func unavailableMeansNothingWritten(t *trial) {
	refused := 0
	for what, interrupted := range interruptions() {
		for _, st := range steps {
			id, c := st.prepare(t, t.store)
			before := t.read(id)
			ctx, cancel := interrupted()
			err := st.call(ctx, t.store, id, c)
			cancel()
			switch {
			case errors.Is(err, driver.ErrLost):
				t.fatalf("%s with %s was lost to its owner: %v", st.name, what, err)
			case errors.Is(err, driver.ErrUnavailable):
				refused++
				t.equal(t.read(id), before, "%s with %s was refused (%v) and changed the record", st.name, what, err)
				continue
			case err != nil:
				again := st.call(bg, t.store, id, c)
				if !st.once || !errors.Is(again, driver.ErrLost) {
					t.ok(again, "%s repeated after %s (%v)", st.name, what, err)
				}
			}
			if r := t.get(id); !st.happened(r) {
				t.fatalf("%s with %s left\n\t%+v", st.name, what, r)
			}
		}
	}
	t.Logf("%d interrupted calls were refused; the others happened, or could be repeated", refused)
	if t.full == nil {
		t.notApplicable("a refused Acquire of a full store", "Full")
		return
	}
	s, _, _ := t.fill(8)
	id := newID()
	t.refused(s, id, driver.ErrUnavailable)
	if r := t.getFrom(s, id); r.Phase != driver.PhaseAbsent {
		t.fatalf("a refused Acquire left a record that is %s", r.State())
	}
}

func concurrentUse(t *trial) {
	label := "storetest " + newID().Short()
	t.Cleanup(func() {
		pprof.SetGoroutineLabels(bg)
		t.noneLeft(label)
	})
	// Goroutines inherit the labels of the one that starts them, so a store's own can be told from all others.
	pprof.SetGoroutineLabels(pprof.WithLabels(bg, pprof.Labels(label, "left behind")))
	t.store = t.open()

	const keys, workers, rounds = 4, 8, 25
	ids := make([]driver.ID, keys)
	for i := range ids {
		ids[i] = newID()
	}
	holders := make([]atomic.Int32, keys)
	problems := make(chan string, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range rounds {
				key := (w + i) % keys
				if problem := t.holdOnce(ids[key], &holders[key], (w+i)%3); problem != "" {
					problems <- problem
					return
				}
			}
		})
	}
	all.Wait()
	close(problems)
	for problem := range problems {
		t.fatalf("among %d concurrent callers of %d keys: %s", workers, keys, problem)
	}
	t.callsMeet()
}

// holdOnce takes a key if it is free, checks that nobody else has it, and frees it in one of three ways.
func (t *trial) holdOnce(id driver.ID, holders *atomic.Int32, way int) (problem string) {
	c := t.claim()
	g, err := t.store.Acquire(bg, id, c)
	if err != nil {
		return "Acquire failed: " + err.Error()
	}
	if _, err := t.store.Get(bg, id); err != nil {
		return "Get failed: " + err.Error()
	}
	if g.Verdict != driver.Acquired {
		return ""
	}
	if holders.Add(1) != 1 {
		return "two of them held one key"
	}
	if err := t.extend(id, c.Owner, t.long()/2); err != nil {
		return "Extend by the owner failed: " + err.Error()
	}
	out := answer(id.String())
	if way != 0 {
		if err := t.complete(id, c.Owner, out); err != nil {
			return "Complete by the owner failed: " + err.Error()
		}
		r, err := t.store.Get(bg, id)
		if err != nil || !bytes.Equal(r.Outcome.Bytes, out.Bytes) {
			return "the outcome just stored is not there"
		}
	}
	holders.Add(-1)
	if way == 0 {
		err = t.release(id, c.Owner)
	} else {
		err = t.resolve(id, driver.Resolution{Fence: g.Record.Fence, Force: true})
	}
	if err != nil {
		return "making the key free again failed: " + err.Error()
	}
	return ""
}

// noneLeft runs when the store has been closed.
func (t *trial) noneLeft(label string) {
	t.Helper()
	var left string
	for wait := time.Millisecond; wait < 2*time.Second; wait *= 2 {
		t.settle()
		var profile bytes.Buffer
		if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
			t.fatalf("the goroutine profile failed: %v", err)
		}
		left = labelled(profile.String(), label)
		if left == "" {
			return
		}
		time.Sleep(wait)
	}
	t.Errorf("%s\nseen: goroutines that are left after the store was closed:\n%s", t.rule.promise(), left)
}

// labelled returns the stacks of a goroutine profile that carry the label; stacks are separated by empty lines.
func labelled(profile, label string) string {
	var found []string
	for stack := range strings.SplitSeq(profile, "\n\n") {
		if strings.Contains(stack, label) {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}
