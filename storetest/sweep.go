package storetest

import (
	"errors"
	"sync"

	"github.com/onceward/onceward/driver"
)

// Rule 15: sweeping and listing.

func sweeping(t *trial) {
	intact := func() error { return nil }
	if t.foreign == nil {
		t.notApplicable("the data of others", "Foreign")
	} else {
		intact = t.foreign(t.store)
	}
	live := t.scenes()
	before := make([]reading, len(live))
	for i, s := range live {
		before[i] = t.read(s.id)
	}
	if lister, ok := driver.As[driver.Lister](t.store); ok {
		lists(t, lister, live)
	} else {
		t.Logf("not applicable: the store is no driver.Lister")
	}
	if sweeper, ok := driver.As[driver.Sweeper](t.store); ok {
		sweepsExpired(t, sweeper)
		sweepsWhileWorking(t, sweeper, func() {})
		sweepsWhileWorking(t, sweeper, t.settle)
	} else {
		t.Logf("not applicable: the store is no driver.Sweeper; its expired records have to go by themselves")
	}
	for i, s := range live {
		t.equal(t.read(s.id), before[i], "sweeping changed a key that is %s", s.name)
		t.wants(s.owner, s.id, s.claim, "after sweeping, Acquire by the owner of a key that is %s", s.name)
	}
	t.ok(intact(), "keeping the data of others")
}

// sweepsExpired makes records that are over and looks for them. Others may share the store, so more may be removed.
func sweepsExpired(t *trial, sweeper driver.Sweeper) {
	const expired = 10
	running, done := t.claim(), t.claim()
	running.Lease, running.DoubtRetain, done.Retain = t.short(), t.short(), t.short()
	for i := range expired {
		t.acquire(newID(), by(running))
		if i%2 == 0 {
			id := newID()
			t.acquire(id, done)
			t.completeBriefly(id, done.Owner)
		}
	}
	t.outlive()
	removed, limit := 0, 3
	for {
		n, err := sweeper.Sweep(bg, limit)
		t.ok(err, "Sweep")
		if n > limit {
			t.fatalf("Sweep with limit %d removed %d records", limit, n)
		}
		removed += n
		if n < limit {
			break
		}
	}
	t.Logf("swept %d records; %d had expired", removed, expired+expired/2)
}

// sweepsWhileWorking sweeps keys that have expired while they are acquired again. Pause comes between the start of the
// one and of the other.
func sweepsWhileWorking(t *trial, sweeper driver.Sweeper, pause func()) {
	const keys = 24
	c := t.claim()
	c.Retain = t.short()
	ids := make([]driver.ID, keys)
	for i := range ids {
		ids[i] = newID()
		t.acquire(ids[i], c)
		t.completeBriefly(ids[i], c.Owner)
	}
	t.outlive()
	next := by(t.claim())
	var both sync.WaitGroup
	var swept, worked error
	both.Go(func() {
		for range keys {
			_, err := sweeper.Sweep(bg, 4)
			swept = errors.Join(swept, err)
		}
	})
	pause()
	both.Go(func() {
		for _, id := range ids {
			_, err := t.store.Acquire(bg, id, next)
			worked = errors.Join(worked, err)
		}
	})
	both.Wait()
	t.ok(swept, "Sweep while keys are acquired")
	t.ok(worked, "Acquire while expired keys are swept")
	for _, id := range ids {
		t.state(id, "running", "a key that was acquired while it was swept")
		t.ok(t.complete(id, next.Owner, answer("new")), "Complete of a key that was acquired while it was swept")
	}
}

// lists reads page by page. Others may share the store, so records that are not ours are passed over.
func lists(t *trial, lister driver.Lister, live []*scene) {
	c := t.claim()
	c.Labels = driver.Labels{KeyTag: [8]byte(c.Owner[:8]), Operation: "storetest " + newID().Short()}
	c.Retain = t.short()
	gone, marked := newID(), newID()
	t.acquire(gone, c)
	t.completeBriefly(gone, c.Owner)
	t.outlive()
	c.Retain = t.long()
	t.acquire(marked, c)

	wanted := map[driver.ID]string{gone: "absent", marked: "running"}
	for _, s := range live {
		r := t.get(s.id)
		wanted[s.id] = r.State()
	}
	for _, state := range []string{"", "running", "in-doubt", "done"} {
		found := t.list(lister, driver.Query{State: state, Limit: 3})
		for id, want := range wanted {
			listed := want != "absent" && (state == "" || want == state)
			if found[id] != listed {
				t.fatalf("a list of state %q shows a record that is %s: %v, want %v", state, want, found[id], listed)
			}
		}
	}
	for _, q := range []driver.Query{{KeyTag: &c.Labels.KeyTag}, {Operation: c.Labels.Operation}} {
		if found := t.list(lister, q); len(found) != 1 || !found[marked] {
			t.fatalf("a list of one key's label shows %d records, want that key and no other", len(found))
		}
	}
}

func (t *trial) list(lister driver.Lister, q driver.Query) map[driver.ID]bool {
	t.Helper()
	found := make(map[driver.ID]bool)
	for {
		page, next, err := lister.List(bg, q)
		t.ok(err, "List")
		if q.Limit > 0 && len(page) > q.Limit {
			t.fatalf("a page of at most %d records has %d", q.Limit, len(page))
		}
		for _, r := range page {
			if r.Phase == driver.PhaseAbsent || len(r.Outcome.Bytes) > 0 || found[r.ID] {
				t.fatalf("a list shows a record that is %s, with %d bytes, seen before: %v",
					r.State(), len(r.Outcome.Bytes), found[r.ID])
			}
			found[r.ID] = true
		}
		if next == "" {
			return found
		}
		q.Cursor = next
	}
}
