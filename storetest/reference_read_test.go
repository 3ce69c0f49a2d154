package storetest

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
)

func (s *reference) unless(f flaw, o driver.Owner) driver.Owner {
	if s.flaw == f {
		return driver.Owner{}
	}
	return o
}

// text is what a store does that takes bytes for text.
func (s *reference) text(sum string) string {
	if s.flaw == TextBytes {
		return strings.TrimRight(sum, " \x00")
	}
	return sum
}

func (s *reference) matches(e *entry, c driver.Claim) bool {
	switch {
	case s.flaw == NoFingerprint, s.flaw == FingerprintOnlyWhenDone && e.Phase != driver.PhaseDone:
		return true
	case s.flaw == FirstFingerprintOnly:
		return c.Fingerprint == e.Fingerprint
	case s.flaw == FoldsCase:
		return strings.EqualFold(c.Fingerprint.Sum, e.Fingerprint.Sum) || c.Matches(e.Fingerprint)
	default:
		return c.Matches(e.Fingerprint)
	}
}

// Get implements driver.Store.
func (s *reference) Get(ctx context.Context, id driver.ID) (r driver.Record, err error) {
	err = s.call(ctx, func(now time.Time) error {
		r = s.read(s.live(id, now), now)
		return nil
	})
	return r, err
}

// read is the record as it is given to callers.
func (s *reference) read(e *entry, now time.Time) driver.Record {
	if e == nil || e.Phase == driver.PhaseAbsent {
		return driver.Record{}
	}
	r := e.Record
	r.Age, r.Left = now.Sub(e.began), e.expires.Sub(now)
	if e.Phase == driver.PhaseRunning {
		r.Lease = max(0, e.leaseEnd.Sub(now))
	} else {
		r.GivenUp = false
	}
	if s.flaw != SharesSlicesOut {
		r.Outcome.Bytes = bytes.Clone(r.Outcome.Bytes)
	}
	return r
}

// Sweep implements driver.Sweeper.
func (s *reference) Sweep(_ context.Context, limit int) (removed int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	var expired []driver.ID
	for id, e := range s.entries {
		over := !now.Before(e.expires)
		if s.flaw == ReaperKillsLive && e.Phase == driver.PhaseRunning {
			over = over || !now.Before(e.leaseEnd)
		}
		if over && len(expired) < limit {
			expired = append(expired, id)
		}
	}
	s.gap(SweepsUnchecked)
	for _, id := range expired {
		delete(s.entries, id)
	}
	if s.flaw == SweepsForeign {
		clear(s.foreign)
	}
	return len(expired), nil
}

// List implements driver.Lister.
func (s *reference) List(_ context.Context, q driver.Query) (page []driver.Record, next string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if q.Limit == 0 {
		q.Limit = 100
	}
	var ids []driver.ID
	for id := range s.entries {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b driver.ID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		e := s.live(id, now)
		if s.flaw == ListsExpired {
			e = s.entries[id]
		}
		r := s.read(e, now)
		if id.String() <= q.Cursor || r.Phase == driver.PhaseAbsent || !selects(q, &r) {
			continue
		}
		if len(page) == q.Limit {
			return page, page[len(page)-1].ID.String(), nil
		}
		r.Outcome.Bytes = nil
		page = append(page, r)
	}
	return page, "", nil
}

func selects(q driver.Query, r *driver.Record) bool {
	return (q.State == "" || q.State == r.State()) &&
		(q.KeyTag == nil || *q.KeyTag == r.Labels.KeyTag) &&
		(q.Operation == "" || q.Operation == r.Labels.Operation)
}
