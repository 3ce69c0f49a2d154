package storetest

import (
	"github.com/onceward/onceward/driver"
)

// scene is a key that has been brought into one state.
type scene struct {
	name  string
	id    driver.ID
	claim driver.Claim // by the last one that acquired it, or that released it unasked
	fence uint64
	// stranger and owner are the verdicts for an Acquire of the same request by somebody else and by claim.Owner.
	stranger, owner driver.Verdict
}

// loses reports whether an Acquire by somebody else changes nothing.
func (s *scene) loses() bool { return s.stranger != driver.Acquired }

// scenes makes one key of every state that a record can be in. It takes one short time.
func (t *trial) scenes() []*scene {
	t.Helper()
	var all []*scene
	add := func(name string, stranger, owner driver.Verdict, c driver.Claim, then func(s *scene) error) {
		t.Helper()
		s := &scene{name: name, id: newID(), claim: c, stranger: stranger, owner: owner}
		s.fence = t.wants(driver.Acquired, s.id, c, "Acquire of a new key").Record.Fence
		t.ok(then(s), "making a key that is %s", name)
		all = append(all, s)
	}
	nothing := func(*scene) error { return nil }
	giveUp := func(s *scene) error { return t.extend(s.id, s.claim.Owner, 0) }
	force := func(out *driver.Outcome) func(s *scene) error {
		return func(s *scene) error {
			return t.resolve(s.id, driver.Resolution{Fence: s.fence, Outcome: out, Force: true})
		}
	}
	short := t.claim()
	short.Lease = t.short()
	rerun, usedUp := short, short
	rerun.OnCrash = driver.Rerun
	usedUp.OnCrash, usedUp.MaxAttempts = driver.Rerun, 1
	stored := answer("stored")
	end := func(out driver.Outcome) func(s *scene) error {
		return func(s *scene) error { return t.complete(s.id, s.claim.Owner, out) }
	}
	resolveTo := func(out *driver.Outcome) func(s *scene) error {
		return func(s *scene) error {
			t.ok(giveUp(s), "Extend with lease 0")
			return t.resolve(s.id, driver.Resolution{Fence: s.fence, Outcome: out})
		}
	}

	add("running", driver.Running, driver.Acquired, by(t.claim()), nothing)
	add("in doubt, its lease over", driver.InDoubt, driver.Acquired, by(short), nothing)
	add("in doubt, given up", driver.InDoubt, driver.Acquired, by(t.claim()), giveUp)
	add("in doubt, its attempts used up", driver.InDoubt, driver.Acquired, by(usedUp), nothing)
	add("waiting for the next attempt", driver.Acquired, driver.Acquired, by(rerun), nothing)
	add("done", driver.Done, driver.Done, by(t.claim()), end(stored))
	add("done with a tombstone", driver.Done, driver.Done, by(t.claim()),
		end(driver.Outcome{Kind: driver.Tombstone, Bytes: []byte("201")}))
	add("resolved to done", driver.Done, driver.Done, by(t.claim()), resolveTo(&stored))
	add("forced to done", driver.Done, driver.Done, by(t.claim()), force(&stored))
	add("released", driver.Acquired, driver.Lost, by(t.claim()),
		func(s *scene) error { return t.release(s.id, s.claim.Owner) })
	add("resolved to absent", driver.Acquired, driver.Lost, by(t.claim()), resolveTo(nil))
	add("forced to absent", driver.Acquired, driver.Lost, by(t.claim()), force(nil))
	t.outlive()
	return all
}

// present reports whether there is a record to look at.
func (s *scene) present() bool { return s.owner != driver.Lost }
