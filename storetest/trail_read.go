package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// Rule 18, how the trail is read, and rule 19, how long it lasts.

func (t *trial) historian() driver.Historian {
	t.Helper()
	h, ok := driver.As[driver.Historian](t.store)
	if !ok {
		t.fatalf("the store that Options.Trail opened is no driver.Historian")
	}
	return h
}

// history reads all pages.
func (t *trial) history(q driver.HistoryQuery) []driver.Entry {
	t.Helper()
	all, err := t.tryHistory(q)
	t.ok(err, "History")
	return all
}

func (t *trial) tryHistory(q driver.HistoryQuery) (all []driver.Entry, err error) {
	t.Helper()
	h := t.historian()
	for {
		page, next, err := h.History(bg, q)
		if err != nil {
			return nil, err
		}
		if q.Limit > 0 && len(page) > q.Limit {
			t.fatalf("a page of at most %d entries has %d", q.Limit, len(page))
		}
		all = append(all, page...)
		if next == "" {
			return all, nil
		}
		q.Cursor = next
	}
}

func list(entries []driver.Entry) string {
	var lines strings.Builder
	for i := range entries {
		e := &entries[i]
		fmt.Fprintf(&lines, "\t%v, attempt %d, fence %d, kind %d, of %s %q %q %x, %+q\n",
			e.Step, e.Attempt, e.Fence, e.Kind, e.ID.Short(), e.Operation, e.KeyHint, e.KeyTag, e.Note)
	}
	return lines.String()
}

// trailSelects checks what can be asked for. Others may share the store, so what is not ours is passed over.
func trailSelects(t *trial) {
	t.store = t.trail(driver.AuditAll, t.long())
	mine, all := lengthyTale(t)
	tag, operation, since, until := &mine.claim.Labels.KeyTag, mine.claim.Labels.Operation, all[2].Time, all[4].Time
	later := slices.DeleteFunc(slices.Clone(all), func(e driver.Entry) bool { return e.Time.Before(since) })
	between := slices.DeleteFunc(slices.Clone(later), func(e driver.Entry) bool { return !e.Time.Before(until) })
	for _, c := range []struct {
		name string
		q    driver.HistoryQuery
		want []driver.Entry
	}{
		{"id, with small pages", driver.HistoryQuery{ID: &mine.id, Limit: 1}, all},
		{"id and operation", driver.HistoryQuery{ID: &mine.id, Operation: operation}, all},
		{"id and another operation", driver.HistoryQuery{ID: &mine.id, Operation: "another"}, nil},
		{"id and time", driver.HistoryQuery{ID: &mine.id, Since: since, Until: until}, between},
		{"a time before", driver.HistoryQuery{ID: &mine.id, Until: all[0].Time}, nil},
		{"a time after", driver.HistoryQuery{ID: &mine.id, Since: time.Now().Add(24 * time.Hour)}, nil},
		{"key tag", driver.HistoryQuery{KeyTag: tag, Limit: 2}, all},
		{"operation", driver.HistoryQuery{Operation: operation, Limit: 3}, all},
		{"operation and time", driver.HistoryQuery{Operation: operation, Since: since}, later},
	} {
		got, err := t.tryHistory(c.q)
		switch {
		case errors.Is(err, errors.ErrUnsupported) && c.name != "id, with small pages":
			t.Logf("not applicable: the trail cannot be read by %s: %v", c.name, err)
		case err != nil:
			t.fatalf("History by %s failed: %v", c.name, err)
		case !slices.EqualFunc(got, c.want, sameEntry):
			t.fatalf("History by %s is\n%swant\n%s", c.name, list(got), list(c.want))
		}
	}
	if _, _, err := t.historian().History(bg, driver.HistoryQuery{ID: &mine.id, Cursor: "no cursor"}); err == nil {
		t.fatalf("History takes a cursor that it never returned")
	}
}

// lengthyTale is a key with six entries, of which the first came some time before the others, beside another key.
func lengthyTale(t *trial) (mine *tale, all []driver.Entry) {
	mine = t.newTale(driver.AuditAll)
	first := during(func() { mine.acquire("Acquire of a new key", driver.StepAcquired) })
	t.newTale(driver.AuditAll).acquire("Acquire of another key", driver.StepAcquired)
	t.outlive()
	alive := func() {
		note := fresh("alive")
		mine.extend(t.long(), note)
		mine.toldIfAll("Extend", 1, note)
	}
	second := during(alive)
	for range 4 {
		alive()
	}
	all = t.history(driver.HistoryQuery{ID: &mine.id})
	for i := range all {
		if i > 0 && all[i].Time.Before(all[i-1].Time) {
			t.fatalf("an entry of %v comes before one of %v", all[i-1].Time, all[i].Time)
		}
	}
	least, most := second.after(first)
	t.within(all[1].Time.Sub(all[0].Time), least, most, "the time between two entries")
	return mine, all
}

func sameEntry(a, b driver.Entry) bool {
	same := a.Time.Equal(b.Time)
	a.Time, b.Time = time.Time{}, time.Time{}
	return same && a == b
}

func trailOutlivesTheKey(t *trial) {
	if t.trail == nil {
		t.notApplicable("an audit trail", "Trail")
		return
	}
	t.punctual(t.keptForItsRetention)
	if t.crash == nil {
		t.notApplicable("a trail after a power cut", "Crash")
		return
	}
	for _, st := range steps {
		t.store = t.trail(driver.AuditTransitions, t.long())
		id, c := st.prepare(t, t.store)
		before := len(t.history(driver.HistoryQuery{ID: &id}))
		t.ok(st.call(bg, t.store, id, c), "%s", st.name)
		t.store = t.crash(t.store)
		if told := len(t.history(driver.HistoryQuery{ID: &id})) - before; told != 1 {
			t.fatalf("%s had returned when the power was cut, and %d entries tell of it, want 1", st.name, told)
		}
	}
	t.store = t.trail(driver.AuditTransitions, t.long())
	bothOrNeither(t)
}

// keptForItsRetention follows the trails of keys that are gone, and of one that is not.
func (t *trial) keptForItsRetention() (late bool) {
	retain := 5 * t.opts.Unit
	t.store = t.trail(driver.AuditTransitions, retain)
	released, resolved, expired, running := newID(), newID(), newID(), newID()
	c := t.claim()
	c.Retain = t.short()
	told := during(func() {
		for _, id := range []driver.ID{released, resolved, expired, running} {
			t.acquire(id, c)
		}
		t.ok(t.release(released, c.Owner), "Release")
		t.ok(t.resolve(resolved, driver.Resolution{Fence: t.get(resolved).Fence, Force: true}), "forced Resolve")
		t.ok(t.complete(expired, c.Owner, answer("done")), "Complete")
	})

	t.outlive()
	t.sweepAll()
	if t.trails(told.from.Add(retain), "after its keys are gone",
		map[driver.ID]int{released: 2, resolved: 2, expired: 2, running: 1}) {
		return true
	}
	t.justAfter(told.to.Add(retain))
	done := during(func() { t.ok(t.complete(running, c.Owner, answer("done")), "Complete") })
	for range 2 {
		if t.trails(done.from.Add(retain), "after its retention",
			map[driver.ID]int{released: 0, resolved: 0, expired: 0, running: 1}) {
			return true
		}
		t.sweepAll()
	}
	return false
}

// trails counts the entries of keys, and reports whether it was late: some could be gone.
func (t *trial) trails(end time.Time, when string, want map[driver.ID]int) (late bool) {
	t.Helper()
	for id, entries := range want {
		got := t.history(driver.HistoryQuery{ID: &id})
		if !time.Now().Before(end) {
			return true
		}
		if len(got) != entries {
			t.fatalf("%s the trail is\n%swant %d entries", when, list(got), entries)
		}
	}
	return false
}

func (t *trial) sweepAll() {
	t.Helper()
	if sweeper, ok := driver.As[driver.Sweeper](t.store); ok {
		_, err := sweeper.Sweep(bg, 1000)
		t.ok(err, "Sweep")
	}
}

// bothOrNeither cuts the power while many keys are acquired.
func bothOrNeither(t *trial) {
	ids := make([]driver.ID, 64)
	var all sync.WaitGroup
	s := t.store
	for i := range ids {
		ids[i] = newID()
		all.Go(func() { _, _ = s.Acquire(bg, ids[i], t.claim()) })
	}
	t.store = t.crash(s)
	all.Wait()
	for _, id := range ids {
		there := t.get(id).Phase != driver.PhaseAbsent
		if told := len(t.history(driver.HistoryQuery{ID: &id})); there != (told == 1) {
			t.fatalf("the power was cut during an Acquire: the record is there: %v, and %d entries tell of it", there, told)
		}
	}
}
