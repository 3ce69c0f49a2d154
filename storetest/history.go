package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
)

// history is one run: two keys, three owners, and what was said so far.
type history struct {
	t       *trial
	start   time.Time
	ids     [2]driver.ID
	keys    [2]key
	owners  [3]driver.Owner
	counted *tally
	log     []string
}

func (t *trial) newHistory(counted *tally) *history {
	return &history{t: t, start: time.Now(), counted: counted, ids: [2]driver.ID{newID(), newID()},
		owners: [3]driver.Owner{newOwner(), newOwner(), newOwner()}}
}

// play makes the moves and returns how they went wrong. Nobody can say when a slow call happened, so after one the history
// goes on with other keys.
func (t *trial) play(moves []move, counted *tally) error {
	h := t.newHistory(counted)
	for _, m := range moves {
		now := h.pause(m)
		err := h.step(m, now)
		if h.now()-now > t.slack()/2 {
			counted.count(tooSlow)
			h = t.newHistory(counted)
			continue
		}
		if err != nil {
			return fmt.Errorf("\t%s\n%w", strings.Join(h.log, "\n\t"), err)
		}
	}
	return nil
}

func (h *history) now() time.Duration { return time.Since(h.start) }

// pause lets time pass: none, a little, or until just before or after the next edge of the key. It never ends so near an
// edge that the answer would depend on how fast the call is. It returns the moment to which that applies.
func (h *history) pause(m move) time.Duration {
	unit, slack, now := h.t.opts.Unit, h.t.slack(), h.now()
	edges := h.keys[m.key].edges()
	next := now + unit
	if near := slices.DeleteFunc(slices.Clone(edges), func(edge time.Duration) bool {
		return edge <= now || edge > now+12*unit
	}); len(near) > 0 {
		next = slices.Min(near)
	}
	switch m.pause {
	case 0:
		time.Sleep(unit / 2)
	case 1:
		time.Sleep(next - 2*slack - now)
	case 2, 3:
		time.Sleep(next + 2*slack - now)
	}
	for {
		now = h.now()
		near := slices.IndexFunc(edges, func(edge time.Duration) bool { return edge+slack > now && edge-slack <= now })
		if near < 0 {
			return now
		}
		time.Sleep(edges[near] + slack - now)
	}
}

// step makes a move and reads the record after it.
func (h *history) step(m move, now time.Duration) error {
	before := h.keys[m.key].at(now)
	after, err := h.call(m, before, now)
	if err != nil {
		return err
	}
	if after.inDoubt(now) {
		h.counted.count("doubt")
	}
	if before.attempt > 0 && after.attempt > before.attempt {
		h.counted.count("take-over")
	}
	r, err := h.t.store.Get(bg, h.ids[m.key])
	if err != nil {
		return fmt.Errorf("Get must succeed: %w", err)
	}
	h.keys[m.key], err = after.see(now, r, h.t.slack())
	return err
}

// said keeps the call and its answer.
func (h *history) said(m move, now time.Duration, answer any, call string, args ...any) {
	if err, failed := answer.(error); failed && errors.Is(err, driver.ErrLost) {
		answer = "lost"
	} else if answer == nil {
		answer = "ok"
	}
	h.counted.count(fmt.Sprintf("%v: %v", m.verb, answer))
	h.log = append(h.log, fmt.Sprintf("%8v key %d owner %d: %v(%s) = %v",
		now, m.key, m.owner, m.verb, fmt.Sprintf(call, args...), answer))
}

func (h *history) call(m move, k key, now time.Duration) (key, error) {
	if at := slices.Index(h.owners[:], k.owner); at >= 0 && m.mine && m.verb != VerbAcquire {
		m.owner = at
	}
	t, id, o := h.t, h.ids[m.key], h.owners[m.owner]
	switch m.verb {
	case VerbAcquire:
		return h.acquire(m, k, now)
	case VerbExtend:
		lease := time.Duration(m.lease) * t.opts.Unit
		err := t.extend(id, o, lease)
		h.said(m, now, err, "lease %v", lease)
		return k.extend(now, o, lease, err)
	case VerbComplete:
		out := h.outcome(m)
		err := t.complete(id, o, out)
		h.said(m, now, err, "%s, retain %v", show(out), out.Retain)
		return k.complete(now, o, out, err)
	case VerbRelease:
		err := t.release(id, o)
		h.said(m, now, err, "")
		return k.release(now, o, err)
	case VerbResolve:
		r := driver.Resolution{Fence: k.fence, Force: m.flag}
		if m.wrong {
			r.Fence++
		}
		if m.request%2 == 0 {
			out := h.outcome(m)
			r.Outcome = &out
		}
		err := t.resolve(id, r)
		h.said(m, now, err, "fence %d, outcome %v, force %v", r.Fence, r.Outcome != nil, r.Force)
		return k.resolve(now, r, err)
	default:
		h.said(m, now, nil, "")
		return k, nil
	}
}

func (h *history) acquire(m move, k key, now time.Duration) (key, error) {
	c := h.claim(m)
	g, err := h.t.store.Acquire(bg, h.ids[m.key], c)
	if err != nil {
		h.said(m, now, err, "")
		return k, errors.New("it must succeed")
	}
	h.said(m, now, g.Verdict, "%v, max %d, lease %v, %s of %q", c.OnCrash, c.MaxAttempts, c.Lease,
		c.Fingerprint.Algorithm, c.Fingerprint.Sum)
	if k, err = k.acquire(now, c, g); err != nil {
		return k, err
	}
	return k.see(now, g.Record, h.t.slack())
}

func (h *history) claim(m move) driver.Claim {
	c := h.t.claim()
	c.Owner = h.owners[m.owner]
	c.Lease = time.Duration(max(1, m.lease)) * h.t.opts.Unit
	c.DoubtRetain, c.Retain = 12*h.t.opts.Unit, 6*h.t.opts.Unit
	c.OnCrash = driver.Hold + driver.OnCrash(m.request%2)
	c.MaxAttempts = 1 + m.request/2
	switch {
	case m.wrong:
		c.Fingerprint.Sum = "another request"
	case m.flag:
		c.Also = []driver.Fingerprint{c.Fingerprint}
		c.Fingerprint.Algorithm = "sha512"
	}
	return c
}

func (h *history) outcome(m move) driver.Outcome {
	out := answer([]string{"", "one", "two"}[m.request%3])
	if m.flag {
		out.Retain = 3 * h.t.opts.Unit
	}
	return out
}
