package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// wants checks the code of an error, and what it says.
func wants(t *testing.T, err error, code Code, says ...string) {
	t.Helper()
	var e *Error
	check.True(t, errors.As(err, &e) && e.Code == code, "want a %s: %v", code, err)
	for _, word := range says {
		check.True(t, strings.Contains(e.Text, word), "no %q in: %s", word, e.Text)
	}
}

func TestListSelects(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		page, err := w.desk.List(t.Context(), Query{})
		check.NoError(t, err, "List of nothing")
		check.Equal(t, page, Page{Records: []Record{}}, "an empty list")

		doubt := w.doubt(t, orders, "in-doubt")
		running, _ := w.begin(t, orders, "running")
		done := w.done(t, "POST /refunds", "done", driver.Answer, "x")
		for name, c := range map[string]struct {
			q    Query
			want []driver.ID
		}{
			"running":    {Query{State: "running"}, []driver.ID{running}},
			"in doubt":   {Query{State: "in-doubt"}, []driver.ID{doubt}},
			"done":       {Query{State: "done"}, []driver.ID{done}},
			"operation":  {Query{Operation: "POST /refunds"}, []driver.ID{done}},
			"key":        {Query{KeyTag: KeyTag("running")}, []driver.ID{running}},
			"both":       {Query{State: "done", Operation: orders}, nil},
			"other keys": {Query{KeyTag: KeyTag("other")}, nil},
		} {
			page, err := w.desk.List(t.Context(), c.q)
			check.NoError(t, err, "%s", name)
			var got []driver.ID
			for _, r := range page.Records {
				id, _, err := parseID(r.ID)
				check.NoError(t, err, "the id of %s", name)
				got = append(got, id)
			}
			check.Equal(t, got, c.want, "%s", name)
		}
		_, err = w.desk.List(t.Context(), Query{State: "lost"})
		wants(t, err, Unknown, `"lost"`, "in-doubt")
		_, err = w.desk.List(t.Context(), Query{KeyTag: "xyz"})
		wants(t, err, Wrong, `"xyz"`, "16")
		_, err = w.desk.List(t.Context(), Query{Limit: MaxLimit + 1})
		wants(t, err, Wrong, "10001", "10000")
	})
}

// The store has pages, and the list does not show it.
func TestListReadsPages(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		const all = pageSize + 7
		for i := range all {
			w.begin(t, orders, strconv.Itoa(i))
		}
		for limit, want := range map[int]int{0: defaultLimit, 1: 1, pageSize: pageSize, all - 1: all - 1} {
			page, err := w.desk.List(t.Context(), Query{Limit: limit})
			check.NoError(t, err, "List")
			check.Equal(t, len(page.Records), want, "how many of %d", limit)
			check.Equal(t, page.Found, all, "how many there are, of which %d are listed", want)
		}
		page, err := w.desk.List(t.Context(), Query{Limit: all})
		check.NoError(t, err, "List")
		check.True(t, len(page.Records) == all && page.Found == all, "%d records of %d", len(page.Records), page.Found)
		s, err := w.desk.Stats(t.Context())
		check.NoError(t, err, "Stats")
		check.Equal(t, s, Stats{Running: all}, "stats")
	})
}

func TestRecordShowsWhatIsKnown(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		id := w.doubt(t, orders, "k")
		r, err := w.desk.Get(t.Context(), id.String())
		check.NoError(t, err, "Get")
		check.True(t, r.ExpiresIn > Seconds(23*time.Hour) && r.Age >= 0 && r.LeaseLeft <= 0, "times: %v", r)
		r.ExpiresIn, r.Age, r.LeaseLeft = 0, 0, 0
		check.Equal(t, r, Record{
			ID: id.String(), State: "in-doubt", Operation: orders, KeyHint: "key-…", KeyTag: KeyTag("k"), ScopeTag: "0000000000000000",
			Attempt: 1, MaxAttempts: 5, Fence: 1, OnCrash: "hold", MaxExecution: Seconds(time.Minute),
			GivenUp: true, Reason: "upstream-failed", Node: "a",
		}, "the record")
	})
}

func TestOutcomesAreNamedAndAnswersNotShown(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		answer := w.done(t, orders, "answer", driver.Answer, "secret answer")
		summary := w.done(t, orders, "summary", driver.Tombstone, `{"reason":"too-large","status":201,"location":"/orders/1"}`)
		other := w.done(t, "do", "other", driver.Tombstone, "secret text")
		for id, want := range map[driver.ID]Record{
			answer:  {Outcome: "answer"},
			summary: {Outcome: "tombstone", Tombstone: &Tombstone{"too-large", 201, "/orders/1"}},
			other:   {Outcome: "tombstone"},
		} {
			r, err := w.desk.Get(t.Context(), id.String())
			check.NoError(t, err, "Get")
			check.Equal(t, Record{Outcome: r.Outcome, Tombstone: r.Tombstone}, want, "the outcome")
			text, _ := json.Marshal(r)
			check.True(t, !strings.Contains(string(text), "secret"), "an outcome is shown: %s", text)
		}
		s, err := w.desk.Stats(t.Context())
		check.NoError(t, err, "Stats")
		check.Equal(t, s, Stats{Done: 3, Tombstones: 2}, "stats")
	})
}

func TestIDsMayBeShortened(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		id := w.doubt(t, orders, "k")
		twin := id
		twin[6] ^= 1 // the same for twelve digits
		w.acquire(t, twin)
		for _, text := range []string{id.String(), strings.ToUpper(id.String()), id.String()[:14], strings.ToUpper(id.String()[:14])} {
			r, err := w.desk.Get(t.Context(), text)
			check.NoError(t, err, "Get of %s", text)
			check.Equal(t, r.ID, id.String(), "what %s is", text)
		}
		_, err := w.desk.Get(t.Context(), id.String()[:12])
		wants(t, err, Ambiguous, id.String()[:12], id.String(), twin.String(), "more digits")
		absent := id
		absent[0] ^= 1
		for _, text := range []string{absent.String(), absent.String()[:8]} {
			_, err = w.desk.Get(t.Context(), text)
			wants(t, err, NotFound, text, "keys list")
		}
		for _, text := range []string{id.String()[:7], "not-hexadecimal", id.String() + "0", "..", "a b c d e"} {
			_, err = w.desk.Get(t.Context(), text)
			wants(t, err, Wrong, text, "hexadecimal")
		}
	})
}

func (w *world) acquire(t *testing.T, id driver.ID) {
	t.Helper()
	_, err := w.store.Acquire(t.Context(), id, driver.Claim{
		OnCrash: driver.Hold, MaxAttempts: 1, MaxExecution: time.Second, Lease: time.Second, Retain: time.Hour, DoubtRetain: time.Hour,
	})
	check.NoError(t, err, "Acquire")
}

// twice is a store whose list shows a record twice, as it may while the record changes.
type twice struct{ *memstore.Store }

func (s twice) List(ctx context.Context, q driver.Query) ([]driver.Record, string, error) {
	page, next, err := s.Store.List(ctx, q)
	return append(page, page...), next, err
}

func TestRecordThatIsListedTwiceIsOne(t *testing.T) {
	w := &world{store: twice{memstore.New(nil)}}
	id := w.doubt(t, orders, "k").String()
	r, err := NewDesk(w.store, nil).Get(t.Context(), id[:8])
	check.NoError(t, err, "Get")
	check.Equal(t, r.ID, id, "the id")
}

// The guard keeps its rules in a record of the same store.
func TestRecordOfTheGuardIsNobodysKey(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		g, err := onceward.New(w.store, nil)
		check.NoError(t, err, "New")
		t.Cleanup(func() { _ = g.Close(context.Background()) })
		page, err := w.desk.List(t.Context(), Query{})
		check.NoError(t, err, "List")
		check.Equal(t, page.Records, []Record{}, "keys of nobody")
		s, err := w.desk.Stats(t.Context())
		check.NoError(t, err, "Stats")
		check.Equal(t, s, Stats{}, "stats")

		lister, _ := driver.As[driver.Lister](w.store)
		hidden, _, err := lister.List(t.Context(), driver.Query{})
		check.NoError(t, err, "List of the store")
		check.Equal(t, len(hidden), 1, "records of the guard's own")
		_, err = w.desk.Resolve(t.Context(), Resolution{ID: hidden[0].ID.String(), Fence: hidden[0].Fence, Force: true, Reason: "r"})
		wants(t, err, Wrong, "rules")
	})
}

func TestSweepRemovesAllThatExpired(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		const all = pageSize + 7
		short := driver.Claim{
			OnCrash: driver.Hold, MaxAttempts: 1, MaxExecution: time.Second, Lease: 1, Retain: time.Hour, DoubtRetain: time.Millisecond,
		}
		for i := range all {
			_, err := w.store.Acquire(t.Context(), idOf(orders, strconv.Itoa(i)), short)
			check.NoError(t, err, "Acquire")
		}
		kept := w.doubt(t, orders, "kept")
		for expired := false; !expired; { // the test's own deadline bounds it
			page, err := w.desk.List(t.Context(), Query{Limit: MaxLimit})
			check.NoError(t, err, "List")
			expired = len(page.Records) == 1
		}
		removed, err := w.desk.Sweep(t.Context())
		check.NoError(t, err, "Sweep")
		check.Equal(t, removed, all, "how many were removed")
		_, err = w.desk.Get(t.Context(), kept.String())
		check.NoError(t, err, "Get of one that has not expired")
	})
}

// bare is a store with nothing but the verbs.
type bare struct{ driver.Store }

func TestStoresThatCannot(t *testing.T) {
	d := NewDesk(bare{memstore.New(nil)}, nil)
	_, err := d.List(t.Context(), Query{})
	wants(t, err, Unsupported, "list")
	_, err = d.Sweep(t.Context())
	wants(t, err, Unsupported, "by itself")
	wants(t, d.Backup(t.Context(), "/x"), Unsupported, "its own tools")
	wants(t, d.Watch(t.Context(), nil), Unsupported, "no process")
}

// copier is a store that can be backed up.
type copier struct {
	bare

	target string
	err    error
}

func (c *copier) Checkpoint(target string) error { c.target = target; return c.err }

func TestBackup(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		wants(t, w.desk.Backup(t.Context(), "/x"), Unsupported)
	})
	c := &copier{bare: bare{memstore.New(nil)}}
	w := &world{store: c}
	desk := w.serve(t, t.TempDir())
	target := filepath.Join(t.TempDir(), "copy")
	check.NoError(t, desk.Backup(t.Context(), target), "Backup")
	check.Equal(t, c.target, target, "the target")
	wants(t, desk.Backup(t.Context(), "copy"), Wrong, `"copy"`, "absolute")
	c.err = errors.New("it exists")
	wants(t, desk.Backup(t.Context(), target), Unknown, "it exists")
}

// failing is a store that is down.
type failing struct {
	driver.Store

	err error
}

func (f *failing) Get(context.Context, driver.ID) (driver.Record, error) {
	return driver.Record{}, f.err
}

func TestErrorsOfTheStoreKeepTheirMeaning(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		broken := &world{store: &failing{w.store, fmt.Errorf("%w: disk full", driver.ErrUnavailable)}}
		for _, desk := range []desk{NewDesk(broken.store, nil), broken.serve(t, t.TempDir())} {
			_, err := desk.Get(t.Context(), idOf(orders, "k").String())
			wants(t, err, Unavailable, "disk full")
			check.ErrorIs(t, err, driver.ErrUnavailable, "the error")
		}
	})
}
