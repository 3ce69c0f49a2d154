package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/redisstore/internal/packed"
)

const defaultAuditRetention = 90 * 24 * time.Hour

// mayAudit returns an error that is errors.ErrUnsupported if the trail that is asked for cannot be kept.
func (s *Store) mayAudit(ctx context.Context, flags bool) error {
	if s.audit == driver.AuditOff {
		return nil
	}
	if !flags {
		return fmt.Errorf("redisstore: Options.Audit needs Redis 7 or later, or Valkey: this is %s: %w", s.promise.Server, errors.ErrUnsupported)
	}
	a := s.noID()
	s.tell(&a, new(driver.Note))
	p, err := s.redis.eval(ctx, s.scripts.lacks, a)
	switch {
	case err != nil:
		return unopened(err)
	case p.value != "":
		return fmt.Errorf("redisstore: Options.Audit needs the right to %s: %s: %w", p.value, advice["NOPERM"], errors.ErrUnsupported)
	default:
		return nil
	}
}

// tell makes the call's script keep an entry with this note. It comes after all other arguments.
func (s *Store) tell(a *call, n *driver.Note) { s.tellFor(a, n, s.auditRetention) }

func (s *Store) tellFor(a *call, n *driver.Note, retention time.Duration) {
	if s.audit != driver.AuditOff {
		s.toTrail(a, n, retention)
	}
}

// tellResolved is tell for a Resolve. A trail that it begins would stay for ever if nobody else ever added to it.
func (s *Store) tellResolved(a *call, n *driver.Note) {
	retention := s.auditRetention
	if retention < 0 {
		retention = defaultAuditRetention
	}
	s.tellFor(a, n, retention)
}

func (s *Store) toTrail(a *call, n *driver.Note, retention time.Duration) {
	retain := milliseconds(retention)
	told := append(make([]byte, 0, 128), byte(s.audit))
	told = append(told, byte(retain>>40), byte(retain>>32))
	told = binary.BigEndian.AppendUint32(told, uint32(retain))
	a.trail = a.key() + ":trail"
	a.more = append(a.more, string(packed.AppendNotes(told, n, n)))
}

var errByID = fmt.Errorf("redisstore: Redis keeps a trail for each id: ask by id: %w", errors.ErrUnsupported)

// History implements [driver.Historian], for one id; other queries may narrow that down. It reads what any process has kept.
// Without [Options].Audit and without any entry its error is [errors.ErrUnsupported].
func (s *Store) History(ctx context.Context, q driver.HistoryQuery) (page []driver.Entry, next string, err error) {
	if err := ended(ctx); err != nil {
		return nil, "", err
	}
	if q.ID == nil {
		return nil, "", errByID
	}
	from, to, err := bounds(&q)
	if err != nil {
		return nil, "", err
	}
	if q.Limit <= 0 {
		q.Limit = defaultListLimit
	}
	a := s.newCall(*q.ID, 0)
	a.more = []string{from, to, strconv.Itoa(q.Limit + 1)}
	s.toTrail(&a, new(driver.Note), s.auditRetention)
	p, err := s.redis.eval(ctx, s.scripts.history, a)
	if err != nil {
		return nil, "", s.failure(err)
	}
	if s.audit == driver.AuditOff && len(p.rest) == 0 {
		return nil, "", fmt.Errorf("redisstore: no audit trail is kept: set Options.Audit: %w", errors.ErrUnsupported)
	}
	rows := slices.Collect(slices.Chunk(p.rest, 2))
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		next = rows[q.Limit-1][0]
	}
	for _, row := range rows {
		e, err := entry(*q.ID, a.key(), row)
		if err != nil {
			return nil, "", err
		}
		if q.Matches(&e) {
			page = append(page, e)
		}
	}
	return page, next, nil
}

// entry reads what the script answers of one: its id in the stream, which begins with the moment in milliseconds, and itself.
func entry(id driver.ID, key string, row []string) (e driver.Entry, err error) {
	at, _, _ := strings.Cut(row[0], "-")
	ms, err := strconv.ParseInt(at, 10, 64)
	if err != nil || len(row) < 2 {
		return e, errStrange
	}
	e, err = packed.DecodeEntry(key, row[1])
	if err != nil {
		return e, fmt.Errorf("redisstore: an entry of the audit trail of id %s: %w", id.Short(), err)
	}
	e.ID, e.Time = id, time.UnixMilli(ms)
	return e, nil
}

var cursors = regexp.MustCompile(`^[0-9]{1,15}-[0-9]{1,15}$`)

// bounds are the entries between which the page lies, as XRANGE takes them.
func bounds(q *driver.HistoryQuery) (from, to string, err error) {
	from, to = "0", "+"
	switch {
	case q.Cursor != "" && !cursors.MatchString(q.Cursor):
		return "", "", fmt.Errorf("redisstore: %q is not a cursor that History returned", q.Cursor)
	case q.Cursor != "":
		from = "(" + q.Cursor
	case !q.Since.IsZero():
		from = strconv.FormatInt(max(0, roundedUp(q.Since)), 10)
	}
	if !q.Until.IsZero() {
		// Entry 0-0 cannot be.
		to = "0-0"
		if last := roundedUp(q.Until) - 1; last > 0 {
			to = strconv.FormatInt(last, 10)
		}
	}
	return from, to, nil
}

// roundedUp is the first millisecond that is not before t.
func roundedUp(t time.Time) int64 {
	ms := t.UnixMilli()
	if time.UnixMilli(ms).Before(t) {
		ms++
	}
	return ms
}
