package storetest

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// Rule 13: two calls that meet on one key.

// race is a key on which two calls meet. All its moments are 0: its durations differ by so much that the time which the
// calls take cannot matter.
type race struct {
	t      *trial
	id     driver.ID
	claim  driver.Claim // by the owner
	before key
}

// reply is what a call was answered, and the transition that the store claims by it.
type reply struct {
	text       string
	transition func(k key) (key, error)
}

// contender is a call that may meet another.
type contender struct {
	name string
	call func(r *race) reply
}

var contenders = []contender{
	{"Extend", func(r *race) reply { return r.extend(3 * r.t.long()) }},
	{"Extend with lease 0", (*race).giveUp},
	{"Complete", (*race).complete},
	{"Release", (*race).release},
	{"Resolve to done", func(r *race) reply { return r.resolve(&resolved, false) }},
	{"Resolve to absent", func(r *race) reply { return r.resolve(nil, false) }},
	{"forced Resolve to done", func(r *race) reply { return r.resolve(&resolved, true) }},
	{"forced Resolve to absent", func(r *race) reply { return r.resolve(nil, true) }},
	{"Acquire by somebody else", func(r *race) reply { return r.acquire(by(r.claim)) }},
	{"Acquire by the owner", (*race).acquireAgain},
}

var resolved = answer("resolved")

// venue is a state in which calls meet.
type venue struct {
	name    string
	onCrash driver.OnCrash
	ready   func(r *race) reply // nil when the key is to be running
}

var venues = []venue{
	{"running", driver.Hold, nil},
	{"in doubt", driver.Hold, (*race).giveUp},
	{"waiting for the next attempt", driver.Rerun, (*race).giveUp},
	{"done", driver.Hold, (*race).complete},
}

// callsMeet makes every call meet every other in every state. Whether the store takes them at the same moment is chance,
// so it is done several times, and the one that is started first is either.
func (t *trial) callsMeet() {
	t.Helper()
	rounds := 8
	if t.opts.RealTime {
		rounds = 2
	}
	for range rounds {
		for _, v := range venues {
			for _, first := range contenders {
				problems := make([]error, len(contenders))
				var all sync.WaitGroup
				for i, second := range contenders {
					all.Go(func() { problems[i] = t.meet(v, first, second) })
				}
				all.Wait()
				for _, problem := range problems {
					if problem != nil {
						t.fatalf("%v", problem)
					}
				}
			}
		}
	}
}

// meet makes two calls at once. Their answers, the record after them and whom it then belongs to must be those of the one
// order or of the other.
func (t *trial) meet(v venue, first, second contender) error {
	r := &race{t: t, id: newID(), claim: t.claim()}
	r.claim.OnCrash, r.claim.Retain, r.claim.DoubtRetain = v.onCrash, 2*t.long(), 4*t.long()
	if err := r.prepare(v); err != nil {
		return fmt.Errorf("making a key that is %s: %w", v.name, err)
	}
	var one, two reply
	start := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() { <-start; one = first.call(r) })
	both.Go(func() { <-start; two = second.call(r) })
	close(start)
	both.Wait()

	read := r.read()
	again := r.acquireAgain()
	forth := r.before.follow(one, two, read, again)
	back := r.before.follow(two, one, read, again)
	if forth == nil || back == nil {
		return nil
	}
	return fmt.Errorf("no order of two calls on a key that is %s explains their answers and what came of them:\n"+
		"\t%s = %s\n\t%s = %s\nand then\n\tGet = %s\n\tAcquire by the first owner = %s\n"+
		"in this order: %w\nin the other: %w",
		v.name, first.name, one.text, second.name, two.text, read.text, again.text, forth, back)
}

func (r *race) prepare(v venue) (err error) {
	if r.before, err = r.acquireAgain().transition(key{}); err == nil && v.ready != nil {
		r.before, err = v.ready(r).transition(r.before)
	}
	return err
}

// follow returns why the key cannot have given these replies one after the other.
func (k key) follow(replies ...reply) (err error) {
	for _, said := range replies {
		if k, err = said.transition(k); err != nil {
			return err
		}
	}
	return nil
}

// The calls.

func (r *race) acquireAgain() reply { return r.acquire(r.claim) }

func (r *race) acquire(c driver.Claim) reply {
	g, err := r.t.store.Acquire(bg, r.id, c)
	if err != nil {
		return reply{err.Error(), func(k key) (key, error) { return k, errors.New("Acquire must succeed") }}
	}
	return reply{g.Verdict.String(), func(k key) (key, error) {
		k, err := k.acquire(0, c, g)
		if err != nil {
			return k, err
		}
		return r.see(k, g.Record)
	}}
}

func (r *race) giveUp() reply { return r.extend(0) }

func (r *race) extend(lease time.Duration) reply {
	err := r.t.extend(r.id, r.claim.Owner, lease)
	return reply{errorText(err), func(k key) (key, error) { return k.extend(0, r.claim.Owner, lease, err) }}
}

func (r *race) complete() reply {
	out := answer("completed")
	err := r.t.complete(r.id, r.claim.Owner, out)
	return reply{errorText(err), func(k key) (key, error) { return k.complete(0, r.claim.Owner, out, err) }}
}

func (r *race) release() reply {
	err := r.t.release(r.id, r.claim.Owner)
	return reply{errorText(err), func(k key) (key, error) { return k.release(0, r.claim.Owner, err) }}
}

func (r *race) resolve(out *driver.Outcome, force bool) reply {
	res := driver.Resolution{Fence: r.before.fence, Outcome: out, Force: force}
	err := r.t.resolve(r.id, res)
	return reply{errorText(err), func(k key) (key, error) { return k.resolve(0, res, err) }}
}

func (r *race) read() reply {
	got, err := r.t.store.Get(bg, r.id)
	if err != nil {
		return reply{err.Error(), func(k key) (key, error) { return k, errors.New("Get must succeed") }}
	}
	return reply{got.State(), func(k key) (key, error) { return r.see(k, got) }}
}

func (r *race) see(k key, got driver.Record) (key, error) { return k.see(0, got, r.t.long()/4) }
