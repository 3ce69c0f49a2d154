package mysqlstore

import (
	"context"

	"github.com/onceward/onceward/driver"
)

// Wait implements [driver.Waiter]. All who wait in this process share one query, every 25 ms at first and every 250 ms later,
// for as long as somebody waits.
func (s *Store) Wait(ctx context.Context, id driver.ID) error { return s.waiting.Wait(ctx, id) }

// held are the fences of those of the keys that somebody has a lease on.
func (s *Store) held(ctx context.Context, ids []driver.ID) (map[driver.ID]uint64, error) {
	asked := make([]any, len(ids))
	for i := range ids {
		asked[i] = ids[i][:]
	}
	rows, err := s.db.QueryContext(ctx, s.text["held"]+places(len(asked)), asked...)
	if err != nil {
		return nil, failure(err)
	}
	defer rows.Close()
	held := make(map[driver.ID]uint64)
	for rows.Next() {
		var id []byte
		var fence uint64
		if err := rows.Scan(&id, &fence); err != nil {
			return nil, failure(err)
		}
		held[driver.ID(id)] = fence
	}
	return held, failure(rows.Err())
}
