package memstore

import (
	"bytes"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// list reads all pages, and calls between after each.
func list(t *testing.T, s *Store, q driver.Query, between func()) []driver.ID {
	t.Helper()
	var ids []driver.ID
	for {
		page, next, err := s.List(t.Context(), q)
		check.NoError(t, err, "List from %q", q.Cursor)
		for _, rec := range page {
			ids = append(ids, rec.ID)
		}
		if next == "" {
			return ids
		}
		check.Equal(t, len(page), q.Limit, "records of a page that is not the last")
		q.Cursor = next
		between()
	}
}

func TestListPagesWhileRecordsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stay = 1000
		s := open(t, nil)
		want := map[driver.ID]bool{}
		brief := claim(1)
		brief.Lease, brief.DoubtRetain = time.Second, time.Second
		for n := range uint64(stay) {
			want[numbered(n)] = true
			acquire(t, s, numbered(n), claim(1), driver.Acquired)
			acquire(t, s, numbered(1<<32|n), brief, driver.Acquired)
		}
		come := uint64(2 << 32)
		got := list(t, s, driver.Query{Limit: 7}, func() {
			time.Sleep(100 * time.Millisecond)
			sweep(t, s, 100)
			for range 3 {
				come += 7
				acquire(t, s, numbered(come), brief, driver.Acquired)
			}
		})
		check.True(t, slices.IsSortedFunc(got, func(a, b driver.ID) int { return bytes.Compare(a[:], b[:]) }), "not in order")
		check.Equal(t, len(slices.Compact(slices.Clone(got))), len(got), "different ids")
		for _, id := range got {
			delete(want, id)
		}
		check.Equal(t, slices.Collect(maps.Keys(want)), nil, "records that stayed and were not listed")
	})
}

func TestListLastPageIsNotEmpty(t *testing.T) {
	s := open(t, nil)
	for n := range uint64(20) {
		acquire(t, s, numbered(n), claim(1), driver.Acquired)
	}
	pages := 1
	check.Equal(t, len(list(t, s, driver.Query{Limit: 10}, func() { pages++ })), 20, "records")
	check.Equal(t, pages, 2, "pages of ten")
}

func TestListSelects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, nil)
		running, doubtful, done, released := numbered(1), numbered(2), numbered(3), numbered(4)
		for n, id := range []driver.ID{running, doubtful, done, released} {
			c := claim(1)
			c.Labels.KeyTag = [8]byte{byte(n + 1)}
			if id == running {
				c.Labels.Operation = "refund"
			}
			acquire(t, s, id, c, driver.Acquired)
		}
		mine := claim(1).Owner
		check.NoError(t, s.Extend(t.Context(), doubtful, mine, driver.Extension{}), "giving up")
		check.NoError(t, s.Complete(t.Context(), done, mine, outcome("a")), "Complete")
		check.NoError(t, s.Release(t.Context(), released, mine, driver.Note{}), "Release")

		for _, c := range []struct {
			name string
			q    driver.Query
			want []driver.ID
		}{
			{"all", driver.Query{}, []driver.ID{running, doubtful, done}},
			{"running", driver.Query{State: "running"}, []driver.ID{running}},
			{"in doubt", driver.Query{State: "in-doubt"}, []driver.ID{doubtful}},
			{"done", driver.Query{State: "done"}, []driver.ID{done}},
			{"a key", driver.Query{KeyTag: &[8]byte{2}}, []driver.ID{doubtful}},
			{"an operation", driver.Query{Operation: "refund"}, []driver.ID{running}},
		} {
			check.Equal(t, list(t, s, c.q, func() {}), c.want, "%s", c.name)
		}
		page, _, err := s.List(t.Context(), driver.Query{State: "done"})
		check.NoError(t, err, "List")
		check.Equal(t, page[0].Outcome, driver.Outcome{Kind: driver.Answer}, "the outcome in a list")
	})
}

func TestListRefusesWhatItDoesNotKnow(t *testing.T) {
	s := open(t, nil)
	for _, q := range []driver.Query{{State: "expired"}, {Cursor: "42"}, {Cursor: "not a cursor"}} {
		_, _, err := s.List(t.Context(), q)
		check.True(t, err != nil, "%+v is accepted", q)
	}
}
