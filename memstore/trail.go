package memstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

const (
	defaultAuditRetention = 90 * 24 * time.Hour
	defaultAuditEntries   = 100_000
)

// A trail is told of each step while the shard of its record is held, so that nobody sees one without the other. Its own
// mutex is taken last.
type trail struct {
	level  driver.AuditLevel
	retain time.Duration // negative is for ever
	most   int

	mu      sync.Mutex
	entries []driver.Entry // oldest first
	first   uint64         // the number of the first one; those before are gone
}

func (t *trail) init(o *Options) {
	t.retain, t.most = defaultAuditRetention, defaultAuditEntries
	if o != nil {
		t.level = o.Audit
		t.retain = cmp.Or(o.AuditRetention, t.retain)
		t.most = max(0, cmp.Or(o.AuditEntries, t.most))
	}
}

// clock is the wall clock as it was when the store was made and what has passed since, so that it never goes back.
func (s *Store) clock() time.Time { return s.epoch.Add(s.now()).Round(0) }

// tell keeps a step of the attempt that r is or, if the key is becoming free, was.
func (s *Store) tell(r *record, step driver.Step, kind driver.Kind, note driver.Note) {
	t := &s.trail
	if t.level == driver.AuditOff || step == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := s.clock()
	t.entries = append(t.entries, driver.Entry{
		ID: r.id, Time: now, Step: step, Attempt: r.attempt, Fence: r.fence, Kind: kind,
		Operation: r.labels.Operation, KeyHint: r.labels.KeyHint, KeyTag: r.labels.KeyTag, Note: note,
	})
	t.forget(max(t.over(now), len(t.entries)-t.most))
}

// signOfLife is the step of a lease that starts anew. One that had been given up is a transition.
func (t *trail) signOfLife(givenUp bool) driver.Step {
	if givenUp || t.level == driver.AuditAll {
		return driver.StepExtended
	}
	return 0
}

// giveUp is the step of a lease that is given up, which may have been already.
func (r *record) giveUp(note driver.Note) driver.Step {
	if r.givenUp && r.note == note {
		return 0
	}
	return driver.StepGivenUp
}

// over is how many entries have lived for their retention. The mutex is held.
func (t *trail) over(now time.Time) int {
	if t.retain < 0 {
		return 0
	}
	return t.before(now.Add(-t.retain))
}

// before is how many entries are older.
func (t *trail) before(at time.Time) int {
	n, _ := slices.BinarySearchFunc(t.entries, at, func(e driver.Entry, at time.Time) int { return e.Time.Compare(at) })
	return n
}

// forget drops the oldest entries; append leaves their room behind when it next grows. The mutex is held.
func (t *trail) forget(n int) {
	clear(t.entries[:n])
	t.entries, t.first = t.entries[n:], t.first+uint64(n)
}

func (t *trail) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(t.over(now))
}

// History implements [driver.Historian], and selects by everything. Each page by id, key or operation may look at every
// entry. Without [Options].Audit its error is [errors.ErrUnsupported].
func (s *Store) History(ctx context.Context, q driver.HistoryQuery) (page []driver.Entry, next string, err error) {
	if err := ended(ctx); err != nil {
		return nil, "", err
	}
	t := &s.trail
	if t.level == driver.AuditOff {
		return nil, "", fmt.Errorf("memstore: no audit trail is kept: set Options.Audit: %w", errors.ErrUnsupported)
	}
	from, err := parseHistoryCursor(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	if q.Limit <= 0 {
		q.Limit = defaultListLimit
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.over(s.clock())
	if from > t.first {
		at = max(at, int(min(from-t.first, uint64(len(t.entries)))))
	}
	if !q.Since.IsZero() {
		at = max(at, t.before(q.Since))
	}
	for ; at < len(t.entries); at++ {
		e := &t.entries[at]
		if !q.Until.IsZero() && !e.Time.Before(q.Until) {
			break
		}
		if !q.Matches(e) {
			continue
		}
		if len(page) == q.Limit {
			return page, strconv.FormatUint(t.first+uint64(at), 10), nil
		}
		page = append(page, *e)
	}
	return page, "", nil
}

// parseHistoryCursor returns the number of the entry at which a page starts.
func parseHistoryCursor(cursor string) (uint64, error) {
	if cursor == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(cursor, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("memstore: %q is not a cursor that History returned", cursor)
	}
	return n, nil
}
