package control

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// eachAudited is eachWay with a store that keeps a trail.
func eachAudited(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	open := func() *world { return &world{store: memstore.New(&memstore.Options{Audit: driver.AuditTransitions})} }
	t.Run("here", func(t *testing.T) {
		w := open()
		w.desk = NewDesk(w.store, nil)
		test(t, w)
	})
	t.Run("by socket", func(t *testing.T) {
		w := open()
		w.desk = w.serve(t, t.TempDir())
		test(t, w)
	})
}

func steps(trail Trail) string {
	all := make([]string, len(trail.Entries))
	for i, e := range trail.Entries {
		all[i] = e.Step
	}
	return strings.Join(all, " ")
}

func TestAuditTellsWhatHappened(t *testing.T) {
	eachAudited(t, func(t *testing.T, w *world) {
		id := w.doubt(t, orders, "k")
		_, err := w.desk.Resolve(t.Context(), Resolution{
			ID: id.String(), Fence: 1, Outcome: "answer", Bytes: []byte("secret"), Actor: "ann", Reason: "seen at the bank",
		})
		check.NoError(t, err, "Resolve")
		trail, err := w.desk.Audit(t.Context(), AuditQuery{ID: id.String()})
		check.NoError(t, err, "Audit")
		check.Equal(t, steps(trail), "acquired given-up resolved", "steps")
		last := trail.Entries[2]
		check.True(t, time.Since(last.Time) < time.Minute, "the time is %v", last.Time)
		last.Time = time.Time{}
		check.Equal(t, last, Entry{
			ID: id.String(), Step: "resolved", Operation: orders, KeyHint: "key-…", KeyTag: KeyTag("k"), Attempt: 1, Fence: 1,
			Outcome: "answer", Actor: "ann", Reason: "seen at the bank",
		}, "the last entry")
	})
}

func TestAuditSelects(t *testing.T) {
	eachAudited(t, func(t *testing.T, w *world) {
		begun := time.Now()
		id := w.done(t, orders, "one", driver.Answer, "x")
		w.done(t, "POST /refunds", "two", driver.Answer, "x")
		freed := w.doubt(t, orders, "three")
		_, err := w.desk.Resolve(t.Context(), Resolution{ID: freed.String(), Fence: 1, Actor: "ann", Reason: "it did not happen"})
		check.NoError(t, err, "Resolve")
		for name, c := range map[string]struct {
			q    AuditQuery
			want string
		}{
			"all":              {AuditQuery{}, "acquired completed acquired completed acquired given-up resolved"},
			"id":               {AuditQuery{ID: id.String()}, "acquired completed"},
			"digits":           {AuditQuery{ID: strings.ToUpper(id.String()[:9])}, "acquired completed"},
			"digits of a gone": {AuditQuery{ID: freed.String()[:8]}, "acquired given-up resolved"},
			"key":              {AuditQuery{KeyTag: KeyTag("two")}, "acquired completed"},
			"operation":        {AuditQuery{Operation: "POST /refunds"}, "acquired completed"},
			"since":            {AuditQuery{Since: begun, Operation: "POST /refunds"}, "acquired completed"},
			"later":            {AuditQuery{Since: time.Now().Add(time.Hour)}, ""},
			"another id":       {AuditQuery{ID: idOf(orders, "four").String()}, ""},
		} {
			trail, err := w.desk.Audit(t.Context(), c.q)
			check.NoError(t, err, "%s", name)
			check.Equal(t, steps(trail), c.want, "%s", name)
			check.True(t, trail.Entries != nil && !trail.More, "%s: %v", name, trail)
		}
		twin := freed
		twin[8] ^= 1
		w.acquire(t, twin)
		check.NoError(t, w.store.Release(t.Context(), twin, driver.Owner{}, driver.Note{}), "Release")
		_, err = w.desk.Audit(t.Context(), AuditQuery{ID: freed.String()[:12]})
		wants(t, err, Ambiguous, freed.String(), twin.String())
		_, err = w.desk.Audit(t.Context(), AuditQuery{ID: "0123456789"})
		wants(t, err, NotFound, "0123456789")
		_, err = w.desk.Audit(t.Context(), AuditQuery{ID: "order"})
		wants(t, err, Wrong, `"order"`)
		_, err = w.desk.Audit(t.Context(), AuditQuery{KeyTag: "xyz"})
		wants(t, err, Wrong, `"xyz"`)
		_, err = w.desk.Audit(t.Context(), AuditQuery{Limit: MaxLimit + 1})
		wants(t, err, Wrong, "10001")
	})
}

func TestAuditReadsPages(t *testing.T) {
	eachAudited(t, func(t *testing.T, w *world) {
		const all = pageSize + 7
		for i := range all {
			w.begin(t, orders, strconv.Itoa(i))
		}
		for limit, want := range map[int]int{0: all, 1: 1, pageSize: pageSize, all: all} {
			trail, err := w.desk.Audit(t.Context(), AuditQuery{Limit: limit})
			check.NoError(t, err, "Audit")
			check.Equal(t, len(trail.Entries), want, "how many of %d", limit)
			check.Equal(t, trail.More, want < all, "whether there are more than %d", limit)
		}
	})
}

// Somebody who accepts other rules is told of, to whoever asks for it.
func TestAuditOfTheGuardIsToldIfAskedFor(t *testing.T) {
	eachAudited(t, func(t *testing.T, w *world) {
		g, err := onceward.New(w.store, nil)
		check.NoError(t, err, "New")
		t.Cleanup(func() { _ = g.Close(context.Background()) })
		trail, err := w.desk.Audit(t.Context(), AuditQuery{})
		check.NoError(t, err, "Audit")
		check.Equal(t, steps(trail), "", "what is told of all")
		trail, err = w.desk.Audit(t.Context(), AuditQuery{Operation: identityOperation})
		check.NoError(t, err, "Audit")
		check.Equal(t, steps(trail), "acquired completed", "what is told of the guard")
	})
}

func TestStoresWithoutATrail(t *testing.T) {
	for _, store := range []driver.Store{bare{memstore.New(nil)}, memstore.New(nil)} {
		w := &world{store: store}
		for _, desk := range []desk{NewDesk(store, nil), w.serve(t, t.TempDir())} {
			_, err := desk.Audit(t.Context(), AuditQuery{})
			wants(t, err, Unsupported, "no audit trail")
		}
	}
	w := &world{store: memstore.New(nil)}
	dir := t.TempDir()
	w.serve(t, dir)
	status, answer := raw(t, dir, "GET", "/v1/audit?limit=1&since=yesterday", "")
	check.Equal(t, status, 400, "status of a wrong time")
	check.True(t, strings.Contains(answer.Text, `"yesterday"`), "what it says: %s", answer.Text)
}
