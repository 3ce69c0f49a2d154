package pgstore

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward/driver"
)

// Wait implements [driver.Waiter]. All who wait in this process share one query, every 25 ms at first and every 250 ms
// later, for as long as somebody waits.
func (s *Store) Wait(ctx context.Context, id driver.ID) error { return s.waiting.Wait(ctx, id) }

// leases are the fences of those of the keys that somebody has a lease on.
func (s *Store) leases(ctx context.Context, ids []driver.ID) (map[driver.ID]uint64, error) {
	asked := make([][]byte, len(ids))
	for i := range ids {
		asked[i] = ids[i][:]
	}
	leases := make(map[driver.ID]uint64)
	err := onPool{s.pool}.with(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, s.sql["wait"], asked)
		if err != nil {
			return err
		}
		var id []byte
		var fence uint64
		_, err = pgx.ForEachRow(rows, []any{&id, &fence}, func() error {
			leases[driver.ID(id)] = fence
			return nil
		})
		return err
	})
	return leases, err
}
