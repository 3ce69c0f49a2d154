package diskstore

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/onceward/onceward/driver"
)

// The keys of the database: a record under its id, and an empty value under the bucket of its end and its id.
const (
	recordPrefix = 'r'
	indexPrefix  = 'x'
)

func recordKey(id driver.ID) []byte {
	return append(append(make([]byte, 0, 1+len(id)), recordPrefix), id[:]...)
}

func indexKey(bucket uint64, id driver.ID) []byte {
	return append(indexBound(bucket), id[:]...)
}

// indexBound is where a bucket begins.
func indexBound(bucket uint64) []byte {
	key := append(make([]byte, 0, 1+8+len(driver.ID{})), indexPrefix)
	return binary.BigEndian.AppendUint64(key, bucket)
}

// bucket is the one of records that are gone at an instant. All of bucket b are gone at b times the width.
func (s *Store) bucket(gone int64) uint64 { return uint64(gone)/uint64(s.width) + 1 }

// Sweep implements [driver.Sweeper]. A record is removed within two minutes after its end. The cost grows with what has
// expired, not with what is stored. It returns how many it removed also with an error. Entries of the audit trail are
// removed within a day after their retention and not counted. After a full disk it restores the ballast.
func (s *Store) Sweep(ctx context.Context, limit int) (int, error) {
	if err := s.disk.restoreBallast(); err != nil {
		s.log.Warn("diskstore: no ballast", "dir", s.dir.path, "err", brief(err))
	}
	aged := s.sweepTrail(ctx)
	removed, _, err := s.sweep(ctx, limit)
	return removed, errors.Join(err, aged)
}

func (s *Store) sweep(ctx context.Context, limit int) (removed, visited int, err error) {
	if err := s.enter(ctx); err != nil {
		return 0, 0, err
	}
	defer s.leave()
	end := uint64(s.now()) / uint64(s.width) // the last bucket that is over
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: indexBound(s.swept.Load()), UpperBound: indexBound(end + 1)})
	if err != nil {
		return 0, 0, fmt.Errorf("diskstore: %w", err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	clean := true
	for ok := iter.First(); ok && removed < limit; ok = iter.Next() {
		key := slices.Clone(iter.Key())
		visited++
		switch gone, err := s.remove(ctx, driver.ID(key[1+8:]), key); {
		case errors.Is(err, driver.ErrUndecodable):
			clean = false // it stays: nobody knows whether it is over
		case err != nil:
			return removed, visited, err
		case gone:
			removed++
		}
	}
	if clean && !iter.Valid() && iter.Error() == nil {
		s.swept.Store(end) // not later: a slow call may just be storing what ends at once
	}
	return removed, visited, iter.Error()
}

// remove deletes the record that an entry of the index stands for, if it is over, and the entry. It is not synced: what is
// over stays so. A caller who then acquires the key waits for a sync of the log, which holds both.
func (s *Store) remove(ctx context.Context, id driver.ID, index []byte) (removed bool, err error) {
	release, err := s.hold(ctx, id)
	if err != nil {
		return false, err
	}
	e, err := s.load(id)
	if err == nil {
		err = s.disk.usable()
	}
	if err != nil {
		release()
		return false, err
	}
	b := s.db.NewBatch()
	if e != nil && e.Gone <= s.now() {
		removed = true
		err = b.Delete(recordKey(id), nil)
	}
	if err := errors.Join(err, b.Delete(index, nil)); err != nil {
		release()
		return false, fmt.Errorf("diskstore: %w", err)
	}
	done := make(chan error, 1)
	go func() { // as with commit
		err := s.apply(b, pebble.NoSync)
		release()
		done <- err
	}()
	return removed, s.await(ctx, done)
}

const defaultListLimit = 100

// List implements [driver.Lister], in the order of ids. Each page reads every record up to its end, so it is for people,
// not for the path of a request. An unknown state or a foreign cursor is an error. A record that cannot be read is left
// out, and logged as an error.
func (s *Store) List(ctx context.Context, q driver.Query) (page []driver.Record, next string, err error) {
	if !slices.Contains([]string{"", "running", "in-doubt", "done"}, q.State) {
		return nil, "", fmt.Errorf("diskstore: no such state %q: use running, in-doubt or done", q.State)
	}
	from, err := parseCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	if q.Limit <= 0 {
		q.Limit = defaultListLimit
	}
	err = s.readDurably(ctx, func() error {
		page, err = s.scan(ctx, &q, from)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(page) > q.Limit { // the record after the limit is where the next page starts
		return page[:q.Limit], page[q.Limit].ID.String(), nil
	}
	return page, "", nil
}

// readDurably makes read, and returns when all that it may have met is durable: an empty write that is synced comes after
// them.
func (s *Store) readDurably(ctx context.Context, read func() error) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if err := read(); err != nil {
		s.leave()
		return err
	}
	b := s.db.NewBatch()
	if err := b.LogData([]byte("read"), nil); err != nil {
		s.leave()
		return fmt.Errorf("diskstore: %w", err)
	}
	return s.commit(ctx, b, s.leave)
}

// scan returns up to one record more than the limit.
func (s *Store) scan(ctx context.Context, q *driver.Query, from driver.ID) (page []driver.Record, err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: recordKey(from), UpperBound: []byte{recordPrefix + 1}})
	if err != nil {
		return nil, fmt.Errorf("diskstore: %w", err)
	}
	defer func() { err = errors.Join(err, iter.Close()) }()
	now := s.now()
	for ok := iter.First(); ok && len(page) <= q.Limit; ok = iter.Next() {
		if err := ended(ctx); err != nil {
			return nil, err
		}
		id := driver.ID(iter.Key()[1:])
		e, err := decode(id, iter.Value())
		if err != nil {
			s.log.Error("diskstore: not listed", "dir", s.dir.path, "err", brief(err))
			continue
		}
		if v := e.view(id, now); q.Matches(&v) {
			page = append(page, v)
		}
	}
	return page, iter.Error()
}

// parseCursor returns the id at which a page starts.
func parseCursor(cursor string) (driver.ID, error) {
	if cursor == "" {
		return driver.ID{}, nil
	}
	b, err := hex.DecodeString(cursor)
	if err != nil || len(b) != len(driver.ID{}) {
		return driver.ID{}, fmt.Errorf("diskstore: %q is not a cursor that List returned", cursor)
	}
	return driver.ID(b), nil
}
