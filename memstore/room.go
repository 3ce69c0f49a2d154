package memstore

import (
	"container/heap"
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/onceward/onceward/driver"
)

// batch is how many records are looked at before others may use the shard.
const batch = 256

// put stores next in place of old, which may be nil. Only what grows can be refused; nothing has changed then.
func (s *Store) put(sh *shard, old, next *record) error {
	var added int64
	if old == nil {
		added = 1
	}
	if err := s.reserve(added, next.size()-old.size()); err != nil {
		return err
	}
	sh.records[next.id] = next
	if old == nil {
		next.due = next.expires()
		heap.Push(&sh.schedule, next)
		sh.peak = max(sh.peak, len(sh.records))
		return nil
	}
	next.due, next.position = old.due, old.position
	sh.schedule[next.position] = next
	sh.hasten(next)
	return nil
}

// settle keeps the books after r, whose size was before, has changed in place.
func (s *Store) settle(sh *shard, r *record, before int64) {
	if grown := r.size() - before; grown != 0 {
		s.bytes.Add(grown)
	}
	sh.hasten(r)
}

func (s *Store) reserve(records, bytes int64) error {
	haveRecords, haveBytes := s.records.Add(records), s.bytes.Add(bytes)
	tooMany := records > 0 && haveRecords > s.maxRecords
	tooLarge := bytes > 0 && haveBytes > s.maxBytes
	if !tooMany && !tooLarge {
		return nil
	}
	s.records.Add(-records)
	s.bytes.Add(-bytes)
	if tooMany {
		return fullError("MaxRecords", haveRecords-records, s.maxRecords)
	}
	return fullError("MaxBytes", haveBytes-bytes, s.maxBytes)
}

func fullError(option string, used, limit int64) error {
	return fmt.Errorf("memstore: %d of %d in use, raise Options.%s or shorten the retention: %w",
		used, limit, option, driver.ErrFull)
}

// makeRoom removes some expired records, and reports whether there were any.
func (s *Store) makeRoom(ctx context.Context) bool {
	removed, _, _ := s.sweep(ctx, batch)
	return removed > 0
}

// Sweep implements [driver.Sweeper]. Its cost grows with what expired, not with what is stored. Residues that are over
// count as records; entries of the audit trail that are over go too, and do not count. It returns how many it removed also
// with the error of a context that ended.
func (s *Store) Sweep(ctx context.Context, limit int) (int, error) {
	s.trail.sweep(s.clock())
	removed, _, err := s.sweep(ctx, limit)
	return removed, err
}

// sweep starts after the shard where the last one reached its limit, so that a small limit gets to all of them in time.
func (s *Store) sweep(ctx context.Context, limit int) (removed, visited int, err error) {
	first, now := int(s.sweepFrom.Load()), s.now()
	for i := range len(s.shards) {
		n := (first + i) % len(s.shards)
		for more := true; more; {
			if err := ended(ctx); err != nil {
				return removed, visited, err
			}
			r, v := s.sweepShard(&s.shards[n], now, limit-removed)
			removed, visited = removed+r, visited+v
			if removed >= limit {
				s.sweepFrom.Store(int32((n + 1) % len(s.shards)))
				return removed, visited, nil
			}
			more = v == batch
		}
	}
	return removed, visited, nil
}

func (s *Store) sweepShard(sh *shard, now time.Duration, limit int) (removed, visited int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for ; visited < batch && removed < limit && len(sh.schedule) > 0 && sh.schedule[0].due <= now; visited++ {
		r := sh.schedule[0]
		if r.left(now) > 0 { // it showed signs of life since it was scheduled
			r.due = r.expires()
			heap.Fix(&sh.schedule, 0)
			continue
		}
		heap.Pop(&sh.schedule)
		delete(sh.records, r.id)
		s.records.Add(-1)
		s.bytes.Add(-r.size())
		removed++
	}
	sh.shrink()
	return removed, visited
}

// shrink gives memory back after most records are gone, which a Go map never does by itself.
func (sh *shard) shrink() {
	if sh.peak < batch || len(sh.records) > sh.peak/4 {
		return
	}
	records := make(map[driver.ID]*record, len(sh.records))
	maps.Copy(records, sh.records)
	sh.records = records
	sh.schedule = append(make(schedule, 0, len(records)), sh.schedule...)
	sh.peak = len(records)
}

// hasten moves r forward in the schedule if it expires sooner than was thought. One that expires later stays where it
// is, which makes a sign of life cheap: Sweep finds out when it gets there.
func (sh *shard) hasten(r *record) {
	if at := r.expires(); at < r.due {
		r.due = at
		heap.Fix(&sh.schedule, r.position)
	}
}

func (r *record) expires() time.Duration { return after(r.touched, r.keep) }

// A schedule is a heap of records by due.
type schedule []*record //nolint:recvcheck // as container/heap has it: only Push and Pop change the length

func (q schedule) Len() int           { return len(q) }
func (q schedule) Less(i, j int) bool { return q[i].due < q[j].due }

func (q schedule) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].position, q[j].position = i, j
}

// Push implements [heap.Interface].
func (q *schedule) Push(r any) {
	next := r.(*record) //nolint:forcetypeassert // it is only called by heap.Push above
	next.position = len(*q)
	*q = append(*q, next)
}

// Pop implements [heap.Interface].
func (q *schedule) Pop() any {
	last := len(*q) - 1
	r := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return r
}
