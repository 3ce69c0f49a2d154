package storetest

import (
	"errors"
	"time"

	"github.com/onceward/onceward/driver"
)

// Rules 14 and 16: a full store, and a store that loses its power.

func fullStoreRefuses(t *trial) {
	if t.full == nil {
		t.notApplicable("a full store", "Full")
		return
	}
	const records = 16
	s, ids, claims := t.fill(records)
	t.store = s
	if len(ids) < records {
		t.fatalf("a store with room for %d records refused a new key after %d", records, len(ids))
	}
	for i, id := range ids {
		t.wants(driver.Running, id, by(claims[i]), "Acquire of a key that is held, in a full store")
		t.wants(driver.Acquired, id, claims[i], "Acquire repeated by the owner, in a full store")
	}
	for i, id := range ids {
		o := claims[i].Owner
		t.ok(t.extend(id, o, t.long()/2), "Extend in a full store")
		switch i % 4 {
		case 0:
			t.ok(t.complete(id, o, answer("stored")), "Complete in a full store")
		case 1:
			t.ok(t.extend(id, o, 0), "Extend with lease 0 in a full store")
		case 2:
			out := answer("resolved")
			t.ok(t.extend(id, o, 0), "Extend with lease 0 in a full store")
			t.ok(t.resolve(id, driver.Resolution{Fence: t.get(id).Fence, Outcome: &out}), "Resolve in a full store")
		}
	}
	// More callers knock; nothing that is live makes room for them. They are told that the store is full: a plain
	// ErrUnavailable would pass for a store that is down, and cut everybody off from the keys that it has.
	for range 4 * records {
		t.refused(s, newID(), driver.ErrFull)
	}
	states := []string{"done", "in-doubt", "done", "running"}
	for i, id := range ids {
		t.state(id, states[i%4], "a live record of a full store")
	}
	for i, id := range ids {
		if i%4 == 3 {
			t.ok(t.release(id, claims[i].Owner), "Release in a full store")
			t.state(id, "absent", "after Release in a full store")
		}
	}
}

// fill acquires keys of a small store until it refuses one.
func (t *trial) fill(records int) (driver.Store, []driver.ID, []driver.Claim) {
	t.Helper()
	s := t.full(records)
	var ids []driver.ID
	var claims []driver.Claim
	for range 100 * records {
		id, c := newID(), t.claim()
		g, err := s.Acquire(bg, id, c)
		if errors.Is(err, driver.ErrUnavailable) {
			return s, ids, claims
		}
		t.ok(err, "Acquire in a store that is filling up")
		if g.Verdict != driver.Acquired {
			t.fatalf("Acquire of a new key in a store that is filling up: the verdict is %v", g.Verdict)
		}
		ids, claims = append(ids, id), append(claims, c)
	}
	t.fatalf("a store with room for %d records took %d", records, len(ids))
	return nil, nil, nil
}

// refused makes an Acquire of a new key that must fail with the error.
func (t *trial) refused(s driver.Store, id driver.ID, want error) {
	t.Helper()
	if _, err := s.Acquire(bg, id, t.claim()); !errors.Is(err, want) {
		t.fatalf("Acquire of a new key in a full store returned %q, want %q", errorText(err), want)
	}
}

func durableBeforeAnswered(t *trial) {
	if t.crash == nil {
		t.notApplicable("what is left after a power cut", "Crash")
		return
	}
	for _, st := range steps {
		t.survives(st)
		t.survivesOnceRead(st)
		if !st.once {
			t.survivesOnceRepeated(st)
		}
	}
	residueSurvives(t)
}

// survives cuts the power when the call has returned.
func (t *trial) survives(st step) {
	t.Helper()
	id, c := st.prepare(t, t.store)
	t.ok(st.call(bg, t.store, id, c), "%s", st.name)
	t.store = t.crash(t.store)
	if r := t.get(id); !st.happened(r) {
		t.fatalf("%s had returned when the power was cut, and the record is %s", st.name, r.State())
	}
}

// survivesOnceRead cuts the power when somebody has been shown the step, whether or not the call has returned.
func (t *trial) survivesOnceRead(st step) {
	t.Helper()
	id, c := st.prepare(t, t.store)
	s := t.store
	returned := make(chan error, 1)
	go func() { returned <- st.call(bg, s, id, c) }()
	t.settle()
	for over := false; ; {
		seen, err := s.Get(bg, id)
		t.ok(err, "Get while %s is under way", st.name)
		if st.happened(seen) {
			break
		}
		if over {
			t.fatalf("%s has returned, and a reader is shown a record that is %s", st.name, seen.State())
		}
		select {
		case err := <-returned:
			t.ok(err, "%s", st.name)
			returned <- nil
			over = true
		case <-time.After(t.opts.Unit / 1000):
		}
	}
	t.store = t.crash(s)
	<-returned
	if r := t.get(id); !st.happened(r) {
		t.fatalf("a reader had been shown %s when the power was cut, and the record is %s", st.name, r.State())
	}
}

// survivesOnceRepeated cuts the power when the repeated call has returned, whether or not the first one has.
func (t *trial) survivesOnceRepeated(st step) {
	t.Helper()
	id, c := st.prepare(t, t.store)
	s := t.store
	returned := make(chan error, 1)
	go func() { returned <- st.call(bg, s, id, c) }()
	t.settle()
	t.ok(st.call(bg, s, id, c), "%s, made twice at the same moment,", st.name)
	t.store = t.crash(s)
	<-returned
	if r := t.get(id); !st.happened(r) {
		t.fatalf("the second of two equal calls of %s had returned when the power was cut, and the record is %s", st.name, r.State())
	}
}

// residueSurvives checks that a late Acquire is refused and that fences grow across a power cut.
func residueSurvives(t *trial) {
	id, c := newID(), t.claim()
	fence := t.acquire(id, c).Record.Fence
	t.ok(t.release(id, c.Owner), "Release")
	t.store = t.crash(t.store)
	t.wants(driver.Lost, id, c, "Acquire by an owner who had released when the power was cut")
	if got := t.wants(driver.Acquired, id, by(c), "Acquire by the next caller").Record.Fence; got <= fence {
		t.fatalf("fence %d was granted before the power was cut, and %d after", fence, got)
	}
}
