package storetest

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
)

// stepOf is the step by which an owner got or kept its lease, or gave it up; 0 for a sign of life that is not kept.
func (s *reference) stepOf(before, e *entry) driver.Step {
	running := before != nil && before.Phase == driver.PhaseRunning
	switch {
	case !running:
		return driver.StepAcquired
	case e.Attempt > before.Attempt:
		return driver.StepTakenOver
	case e.GivenUp && before.GivenUp && e.Note == before.Note:
		return 0
	case e.GivenUp:
		return driver.StepGivenUp
	case s.level == driver.AuditAll, before.GivenUp && s.flaw != TrailForgetsReturn, s.flaw == TrailTellsOfSigns:
		return driver.StepExtended
	default:
		return 0
	}
}

// tell adds an entry in the transition that it tells of.
func (s *reference) tell(e, before *entry, step driver.Step, kind driver.Kind, note driver.Note) {
	if s.level == driver.AuditOff || step == 0 {
		return
	}
	if s.flaw == TrailHasAnotherNote && before != nil {
		note = before.Note
	}
	if s.flaw == TrailCutsNotes {
		note.Actor, _, _ = strings.Cut(note.Actor, "\x00")
	}
	told := driver.Entry{
		ID: e.ID, Time: time.Now(), Step: step, Attempt: e.Attempt, Fence: e.Fence, Kind: kind, Note: note,
		Operation: e.Labels.Operation, KeyHint: e.Labels.KeyHint, KeyTag: e.Labels.KeyTag,
	}
	if s.flaw == TrailIsLate {
		s.late = append(s.late, told)
		return
	}
	s.addTrail(told)
}

func (s *reference) addTrail(told driver.Entry) {
	s.trail = append(s.trail, told)
	if s.journal != nil {
		s.journal.writes = append(s.journal.writes, write{told: told})
	}
}

// tellLate is a trail that is written when the transition is over.
func (s *reference) tellLate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, told := range s.late {
		s.addTrail(told)
	}
	s.late = nil
}

func (s *reference) forgetTrail(id driver.ID) {
	if s.flaw == TrailGoesWithItsKey {
		s.trail = slices.DeleteFunc(s.trail, func(e driver.Entry) bool { return e.ID == id })
	}
}

// History implements driver.Historian.
func (s *reference) History(ctx context.Context, q driver.HistoryQuery) (page []driver.Entry, next string, err error) {
	from := 0
	if q.Cursor != "" {
		if from, err = strconv.Atoi(q.Cursor); err != nil {
			return nil, "", err
		}
	}
	if s.level == driver.AuditOff {
		return nil, "", errors.ErrUnsupported
	}
	err = s.call(ctx, func(now time.Time) error {
		trail := slices.Clone(s.trail)
		if s.flaw == TrailIsBackwards {
			slices.Reverse(trail)
		}
		for i, e := range trail {
			if i < from || !s.keeps(&e, &q, now) {
				continue
			}
			if len(page) == max(q.Limit, 1) {
				next = strconv.Itoa(i)
				break
			}
			page = append(page, e)
		}
		return nil
	})
	if s.flaw == TrailPagesOverlap && next != "" {
		next = overlap(next, q.Cursor)
	}
	return page, next, err
}

// overlap is a cursor one too low, for as long as that gets on.
func overlap(next, cursor string) string {
	n, _ := strconv.Atoi(next)
	if before := strconv.Itoa(n - 1); before != cursor && n > 1 {
		return before
	}
	return next
}

func (s *reference) keeps(e *driver.Entry, q *driver.HistoryQuery, now time.Time) bool {
	return (q.ID == nil || *q.ID == e.ID) && (q.KeyTag == nil || *q.KeyTag == e.KeyTag) &&
		(q.Operation == "" || q.Operation == e.Operation) &&
		!e.Time.Before(q.Since) && (q.Until.IsZero() || e.Time.Before(q.Until)) &&
		(s.flaw == TrailIsForEver || now.Sub(e.Time) < s.auditRetain)
}
