package spec

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceward/onceward/driver"
)

// play is a history that is being made.
type play struct {
	Profile

	store   driver.Store
	sweeper driver.Sweeper // nil if there is none
	start   time.Time
	order   atomic.Int64
	owners  atomic.Int64
	ids     []driver.ID
	known   []known
}

// known is what clients know of a key from each other.
type known struct{ owner, fence atomic.Int64 }

// Play lets clients call the store at once and returns what they saw. The salt keeps apart histories on one store. What the
// clients want depends on the seed alone; how their calls meet does not.
//
// Call and Return of an operation give the order in which things were sent and heard, which moments alone may not tell.
func Play(ctx context.Context, store driver.Store, p *Profile, seed, salt uint64) []porcupine.Operation {
	h := newPlay(store, p, seed, salt)
	parts := make([][]porcupine.Operation, p.Clients)
	var all sync.WaitGroup
	for i := range parts {
		all.Go(func() { parts[i] = newClient(h, i, seed).run(ctx) })
	}
	all.Wait()
	return slices.Concat(parts...)
}

func newPlay(store driver.Store, p *Profile, seed, salt uint64) *play {
	h := &play{Profile: *p, store: store, start: time.Now(), ids: make([]driver.ID, p.Keys), known: make([]known, p.Keys)}
	h.sweeper, _ = driver.As[driver.Sweeper](store)
	random := rand.New(rand.NewPCG(seed, salt)) //nolint:gosec // it is to be repeatable
	for i := range h.ids {
		for at := range h.ids[i] {
			h.ids[i][at] = byte(random.Uint32())
		}
	}
	return h
}

// client makes its steps one after the other.
type client struct {
	*play

	number int
	random *rand.Rand
	mine   []int // by key: as whom it asked last
}

func newClient(h *play, number int, seed uint64) *client {
	random := rand.New(rand.NewPCG(seed, uint64(number))) //nolint:gosec // it is to be repeatable
	return &client{play: h, number: number, random: random, mine: make([]int, h.Keys)}
}

func (c *client) run(ctx context.Context) (seen []porcupine.Operation) {
	for range c.Steps {
		c.pause()
		o := c.next()
		if o == nil {
			if c.sweeper != nil {
				_, _ = c.sweeper.Sweep(ctx, 100) // what it does must not be seen
			}
			continue
		}
		seen = append(seen, c.call(ctx, o))
	}
	return seen
}

// pause lets time pass, by quarters of a unit and a little, so that clients who wait for the same thing do not meet.
func (c *client) pause() {
	quarters := c.random.IntN(c.Pause*4+1) - c.Pause
	if c.Long > 0 && c.random.IntN(20) == 0 {
		quarters = c.Long * 4
	}
	if c.Pause > 0 || quarters > 0 {
		quarter := c.Unit / 4
		time.Sleep(time.Duration(max(0, quarters))*quarter + time.Duration(c.random.Int64N(int64(quarter/2)+1)))
	}
}

// next is the next step, nil for a sweep.
func (c *client) next() *Op {
	o := &Op{Key: c.random.IntN(c.Keys)}
	o.Owner = c.asWhom(o.Key)
	w := c.Weights
	steps := []struct {
		weight int
		make   func(*Op)
	}{
		{w.Claim, func(o *Op) { o.Owner = int(c.owners.Add(1))%62 + 1; c.mine[o.Key] = o.Owner; c.claim(o) }},
		{w.Again, c.claim},
		{w.Extend, func(o *Op) { o.Verb, o.Lease = Extend, c.units(c.Leases) }},
		{w.GiveUp, func(o *Op) { o.Verb = Extend }},
		{w.Complete, func(o *Op) { o.Verb = Complete; c.outcome(o) }},
		{w.Release, func(o *Op) { o.Verb = Release }},
		{w.Resolve, c.resolve},
		{w.Force, func(o *Op) { c.resolve(o); o.Force = true }},
		{w.Get, func(o *Op) { o.Verb = Get }},
		{w.Sweep, nil},
	}
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	at := c.random.IntN(total)
	for _, s := range steps {
		if at -= s.weight; at >= 0 {
			continue
		}
		if s.make == nil {
			return nil
		}
		s.make(o)
		break
	}
	return o
}

// asWhom is an owner that has been there before, or a stranger.
func (c *client) asWhom(key int) int {
	if last := int(c.known[key].owner.Load()); last != 0 && c.random.IntN(10) < c.Weights.Mine {
		return last
	}
	if c.mine[key] == 0 {
		c.mine[key] = int(c.owners.Add(1))%62 + 1
	}
	return c.mine[key]
}

func (c *client) units(of []int) time.Duration {
	return time.Duration(of[c.random.IntN(len(of))]) * c.Unit
}

func (c *client) claim(o *Op) {
	o.Request = 1
	if c.random.IntN(4) == 0 {
		o.Request = 1 + c.random.IntN(c.Requests)
	}
	o.OnCrash, o.MaxAttempts = driver.Rerun, 1+c.random.IntN(c.MaxAttempts)
	if c.random.IntN(10) < c.Hold {
		o.OnCrash = driver.Hold
	}
	o.Lease, o.Retain = c.units(c.Leases), c.units(c.Retains)
	o.DoubtRetain = max(o.Lease, c.units(c.Retains))
}

// outcome is mostly the owner's own, so that it is asked for twice.
func (c *client) outcome(o *Op) {
	o.Outcome = o.Owner
	if c.random.IntN(5) == 0 {
		o.Outcome = 65 + c.random.IntN(4)
	}
	if c.random.IntN(10) < c.Empty {
		o.Outcome = emptyOutcome
	}
	if c.random.IntN(2) == 0 {
		o.Retain = c.units(c.Retains)
	}
}

func (c *client) resolve(o *Op) {
	o.Verb, o.Owner = Resolve, 0
	o.Fence = max(1, uint64(c.known[o.Key].fence.Load()))
	if c.random.IntN(5) == 0 {
		o.Fence += uint64(c.random.IntN(2))*2 - 1
	}
	if c.random.IntN(2) == 0 {
		o.Outcome = 70 + c.random.IntN(4)
		if owner := int(c.known[o.Key].owner.Load()); owner != 0 && c.random.IntN(4) > 0 {
			o.Outcome = owner // as that owner would have it
		}
		if c.random.IntN(2) == 0 {
			o.Retain = c.units(c.Retains)
		}
	}
}
