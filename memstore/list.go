package memstore

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/onceward/onceward/driver"
)

const defaultListLimit = 100

// List implements [driver.Lister], in the order of ids. Each page looks at every record of the shards that it reaches,
// so it is for people, not for the path of a request. An unknown state or a foreign cursor is an error.
func (s *Store) List(ctx context.Context, q driver.Query) (page []driver.Record, next string, err error) {
	if !slices.Contains([]string{"", "running", "in-doubt", "done"}, q.State) {
		return nil, "", fmt.Errorf("memstore: no such state %q: use running, in-doubt or done", q.State)
	}
	from, err := parseCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultListLimit
	}
	// The record after the limit is where the next page starts.
	for n := int(from[0]); n < len(s.shards) && len(page) <= limit; n++ {
		if err := ended(ctx); err != nil {
			return nil, "", err
		}
		page = s.listShard(&s.shards[n], page, &q, from, limit)
	}
	if len(page) > limit {
		return page[:limit], page[limit].ID.String(), nil
	}
	return page, "", nil
}

func (s *Store) listShard(sh *shard, page []driver.Record, q *driver.Query, from driver.ID, limit int) []driver.Record {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := s.now()
	var found []*record
	for id, r := range sh.records {
		if bytes.Compare(id[:], from[:]) >= 0 && r.selected(q, now) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b *record) int { return bytes.Compare(a.id[:], b.id[:]) })
	for _, r := range found {
		if len(page) > limit {
			break
		}
		page = append(page, driver.Record{})
		r.view(&page[len(page)-1], now)
	}
	return page
}

func (r *record) selected(q *driver.Query, now time.Duration) bool {
	var v driver.Record
	r.view(&v, now)
	return q.Matches(&v)
}

// parseCursor returns the id at which a page starts.
func parseCursor(cursor string) (driver.ID, error) {
	if cursor == "" {
		return driver.ID{}, nil
	}
	b, err := hex.DecodeString(cursor)
	if err != nil || len(b) != len(driver.ID{}) {
		return driver.ID{}, fmt.Errorf("memstore: %q is not a cursor that List returned", cursor)
	}
	return driver.ID(b), nil
}
