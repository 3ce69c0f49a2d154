package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// reference is the plainest store there is: one mutex around every transition. With a flaw it breaks one promise.
type reference struct {
	flaw flaw
	room int           // how many records fit; 0 is no bound
	quit chan struct{} // ends what LeaksGoroutine leaves behind

	mu      sync.Mutex
	entries map[driver.ID]*entry
	foreign map[string]string // somebody else's data
	journal *journal          // nil when nothing has to survive

	level       driver.AuditLevel
	auditRetain time.Duration
	trail       []driver.Entry
	late        []driver.Entry // what TrailIsLate is still to tell
}

// journal makes writes durable some time after they were made.
type journal struct {
	writes  []write // that are not durable yet
	first   int     // how many were made before these
	durable map[driver.ID]*entry
	trail   []driver.Entry // what is durable of it
}

// write is a record or an entry of the trail.
type write struct {
	entry *entry // nil for the trail
	told  driver.Entry
}

func newJournal() *journal { return &journal{durable: make(map[driver.ID]*entry)} }

const syncTime = 5 * time.Millisecond

// entry is a record or, when it is absent, a residue.
type entry struct {
	driver.Record              // without its durations
	owner         driver.Owner // zero once it was resolved
	began         time.Time
	leaseEnd      time.Time
	expires       time.Time
	lease         time.Duration
	retain        time.Duration
	doubtRetain   time.Duration
}

func newReference(f flaw) *reference {
	return &reference{flaw: f, entries: make(map[driver.ID]*entry), foreign: map[string]string{"session:42": "theirs"}}
}

func newJournaled(f flaw) *reference {
	s := newReference(f)
	s.journal = newJournal()
	return s
}

// crash returns the store as it comes up after a power cut.
func (s *reference) crash() *reference {
	s.mu.Lock()
	defer s.mu.Unlock()
	up := newJournaled(s.flaw)
	up.quit = s.quit
	up.entries, up.journal.durable = maps.Clone(s.journal.durable), maps.Clone(s.journal.durable)
	up.level, up.auditRetain = s.level, s.auditRetain
	up.trail, up.journal.trail = slices.Clone(s.journal.trail), slices.Clone(s.journal.trail)
	return up
}

// call is where every verb passes: f is one transition under the mutex.
func (s *reference) call(ctx context.Context, f func(now time.Time) error) error {
	if ctx.Err() != nil {
		switch s.flaw {
		case IgnoresContext:
			time.Sleep(time.Hour)
		case UnavailableAfterWrite:
			_ = s.transition(f)
			return driver.ErrUnavailable
		case HalfStep, KeepsSliceAfterCancel:
		default:
			return fmt.Errorf("%w: %w", driver.ErrUnavailable, ctx.Err())
		}
	}
	return s.transition(f)
}

func (s *reference) transition(f func(now time.Time) error) error {
	s.mu.Lock()
	writes := s.written()
	err := f(time.Now())
	ticket := s.written()
	wrote := ticket != writes
	s.mu.Unlock()
	unsynced := s.flaw == AnswersUnsynced || s.flaw == ReadUnsynced && !wrote
	if s.journal != nil && !unsynced {
		s.sync(ticket)
	}
	s.tellLate()
	return err
}

func (s *reference) written() int {
	if s.journal == nil {
		return 0
	}
	return s.journal.first + len(s.journal.writes)
}

// sync returns when the writes up to the ticket are durable.
func (s *reference) sync(ticket int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.journal
	if ticket <= j.first {
		return
	}
	s.mu.Unlock()
	time.Sleep(syncTime)
	s.mu.Lock()
	for ; j.first < ticket; j.first++ {
		if e := j.writes[0].entry; e != nil {
			j.durable[e.ID] = e
		} else {
			j.trail = append(j.trail, j.writes[0].told)
		}
		j.writes = j.writes[1:]
	}
}

// put stores an entry that replaces what was there and does not change any more.
func (s *reference) put(e *entry) {
	s.entries[e.ID] = e
	if s.journal != nil {
		s.journal.writes = append(s.journal.writes, write{entry: e})
	}
}

// live returns a copy of what is there, or nil.
func (s *reference) live(id driver.ID, now time.Time) *entry {
	e := s.entries[id]
	if e == nil || !now.Before(e.expires) {
		return nil
	}
	copied := *e
	return &copied
}

func (s *reference) full(now time.Time) bool {
	if s.room == 0 {
		return false
	}
	live := 0
	for _, e := range s.entries {
		if now.Before(e.expires) {
			live++
		}
	}
	return live >= s.room
}
