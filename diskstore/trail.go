package diskstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/onceward/onceward/driver"
)

// The audit trail is an entry under its moment and its id, and a mark under the day, the id and the second, which has no
// value. So the entries of a time are one range, those of an id the range of each second that it has a mark in, and what is
// over goes with two range deletes, however much it is. A mark costs nearly as much as an entry, because ids are at random, so
// one for all that happens within a second has to do.
const (
	trailPrefix = 't'
	markPrefix  = 'i'

	day = 24 * time.Hour

	defaultAuditRetention = 90 * day
)

type trail struct {
	level  driver.AuditLevel
	retain time.Duration // negative is for ever
	last   atomic.Int64  // the latest moment
	swept  atomic.Int64  // the days before it hold nothing
}

func trailBound(at int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{trailPrefix}, uint64(at))
}

func trailKey(at int64, id driver.ID) []byte { return append(trailBound(at), id[:]...) }

func trailID(key []byte) driver.ID { return driver.ID(key[1+8:]) }

func markBound(day int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{markPrefix}, uint64(day))
}

func markKey(day int64, id driver.ID, second int64) []byte {
	return binary.BigEndian.AppendUint64(append(markBound(day), id[:]...), uint64(second))
}

func splitMark(key []byte) (day int64, id driver.ID, second int64) {
	const idAt, secondAt = 1 + 8, 1 + 8 + len(id)
	return int64(binary.BigEndian.Uint64(key[1:])), driver.ID(key[idAt:secondAt]), int64(binary.BigEndian.Uint64(key[secondAt:]))
}

func dayOf(at int64) int64    { return at / int64(day) }
func secondOf(at int64) int64 { return at / int64(time.Second) }

// told is the entry that is kept of a step of the attempt that e is, nil if none is.
func (t *trail) told(e *entry, step driver.Step, note driver.Note) *driver.Entry {
	if t.level == driver.AuditOff || step == 0 {
		return nil
	}
	return &driver.Entry{
		Step: step, Attempt: e.Attempt, Fence: e.Fence, Note: note,
		Operation: e.Labels.Operation, KeyHint: e.Labels.KeyHint, KeyTag: e.Labels.KeyTag,
	}
}

// signOfLife is the step of a lease that starts anew. One that had been given up is a transition.
func (t *trail) signOfLife(givenUp bool) driver.Step {
	if givenUp || t.level == driver.AuditAll {
		return driver.StepExtended
	}
	return 0
}

// moment is now, but later than every moment before, so that no two entries of an id share one.
func (t *trail) moment(now int64) int64 {
	if t.level == driver.AuditOff {
		return now
	}
	for {
		last := t.last.Load()
		next := max(now, last+1)
		if t.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// keep adds an entry to the batch of its transition. Since is when the entry before it was told, 0 if nobody knows: within
// a second of that there is a mark.
func (t *trail) keep(b *pebble.Batch, id driver.ID, now, since int64, told *driver.Entry) error {
	key := trailKey(now, id)
	if err := b.Set(key, encodeEntry(key, told), nil); err != nil || secondOf(since) == secondOf(now) {
		return err
	}
	return b.Set(markKey(dayOf(now), id, secondOf(now)), nil, nil)
}

// toldSince is when the entry of an attempt, or of its end, was told of: it stands in the record. Another process may have
// made the record without a trail.
func (s *Store) toldSince(e *entry) int64 {
	if e == nil || e.Phase == driver.PhaseAbsent || e.Since < s.epoch {
		return 0
	}
	return e.Since
}

// over is the moment before which every entry is over.
func (t *trail) over(now int64) int64 {
	if t.retain < 0 {
		return 0
	}
	return max(0, now-int64(t.retain))
}

// sweepTrail removes the days that are over. As with records, this is not synced.
func (s *Store) sweepTrail(ctx context.Context) error {
	end := dayOf(s.trail.over(s.now()))
	if end <= s.trail.swept.Load() {
		return nil
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	bound := trailBound(end * int64(day))
	some, err := s.holds(trailBound(0), bound)
	if err == nil && some {
		err = s.disk.usable()
	}
	if !some || err != nil {
		s.leave()
		if err == nil {
			s.trail.swept.Store(end)
		}
		return err
	}
	b := s.db.NewBatch()
	err = errors.Join(b.DeleteRange(trailBound(0), bound, nil), b.DeleteRange(markBound(0), markBound(end), nil))
	if err != nil {
		s.leave()
		return fmt.Errorf("diskstore: %w", err)
	}
	done := make(chan error, 1)
	go func() { // as with commit
		err := s.apply(b, pebble.NoSync)
		s.leave()
		done <- err
	}()
	if err := s.await(ctx, done); err != nil {
		return err
	}
	s.trail.swept.Store(end)
	return nil
}

// holds reports whether there is a key in the range.
func (s *Store) holds(from, to []byte) (some bool, err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return false, fmt.Errorf("diskstore: %w", err)
	}
	some = iter.First()
	return some, iter.Close()
}

// History implements [driver.Historian], and selects by everything, at the cost of what the range of time holds: by id that
// of its own entries, by key or operation that of all. It does not matter what [Options].Audit is now: entries that were
// kept under another level are there until their retention is over.
func (s *Store) History(ctx context.Context, q driver.HistoryQuery) (page []driver.Entry, next string, err error) {
	from, err := parseTrailCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	if q.Limit <= 0 {
		q.Limit = defaultListLimit
	}
	from = max(from, instant(q.Since), s.trail.over(s.now()))
	to := int64(math.MaxInt64)
	if !q.Until.IsZero() {
		to = instant(q.Until)
	}
	err = s.readDurably(ctx, func() error {
		snapshot := s.db.NewSnapshot()
		r := &trailReader{ctx: ctx, snapshot: snapshot, query: &q}
		if q.ID == nil {
			err = r.scan(from, to)
		} else {
			err = r.scanID(*q.ID, from, to)
		}
		page = r.page
		return errors.Join(err, snapshot.Close())
	})
	if err != nil {
		return nil, "", err
	}
	if len(page) > q.Limit { // the entry after the limit is where the next page starts
		return page[:q.Limit], trailCursor(page[q.Limit].Time), nil
	}
	return page, "", nil
}

// A trailReader collects up to one entry more than the limit.
type trailReader struct {
	ctx      context.Context //nolint:containedctx // it lives for one call
	snapshot *pebble.Snapshot
	query    *driver.HistoryQuery
	page     []driver.Entry
	visited  int
}

func (r *trailReader) full() bool { return len(r.page) > r.query.Limit }

// scan reads the entries of a time.
func (r *trailReader) scan(from, to int64) (err error) {
	if from >= to {
		return nil
	}
	iter, err := r.snapshot.NewIter(&pebble.IterOptions{LowerBound: trailBound(from), UpperBound: trailBound(to)})
	if err != nil {
		return fmt.Errorf("diskstore: %w", err)
	}
	defer func() { err = errors.Join(err, readError(iter.Close())) }()
	for ok := iter.First(); ok && !r.full(); ok = iter.Next() {
		if err := r.take(iter.Key(), iter.Value()); err != nil {
			return err
		}
	}
	return nil
}

// take reads an entry, and keeps it if it is selected.
func (r *trailReader) take(key, value []byte) error {
	q := r.query
	r.visited++
	if q.ID != nil && *q.ID != trailID(key) {
		return nil
	}
	if err := ended(r.ctx); err != nil {
		return err
	}
	e, err := decodeEntry(key, value)
	if err != nil {
		return err
	}
	if q.Matches(&e) {
		r.page = append(r.page, e)
	}
	return nil
}

// scanID reads the seconds in which an id has a mark, one day after the other, and passes over the days without one.
func (r *trailReader) scanID(id driver.ID, from, to int64) (err error) {
	iter, err := r.snapshot.NewIter(&pebble.IterOptions{LowerBound: markBound(dayOf(from)), UpperBound: markBound(dayOf(to) + 1)})
	if err != nil {
		return fmt.Errorf("diskstore: %w", err)
	}
	defer func() { err = errors.Join(err, readError(iter.Close())) }()
	for ok := iter.First(); ok && !r.full(); {
		day, other, second := splitMark(iter.Key())
		switch bytes.Compare(other[:], id[:]) {
		case -1:
			ok = iter.SeekGE(markKey(day, id, 0))
		case 1:
			ok = iter.SeekGE(markKey(day+1, id, 0))
		default:
			begin := second * int64(time.Second)
			if err := r.scan(max(from, begin), min(to, begin+int64(time.Second))); err != nil {
				return err
			}
			ok = iter.Next()
		}
	}
	return nil
}
