package redisstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/redisstore/internal/packed"
)

const (
	defaultListLimit = 100
	listStep         = "100" // about how many keys one script looks at
)

// List implements [driver.Lister]. It walks over all keys of the database, also those of others, a hundred per round trip,
// so it is for people. The order is that of SCAN, which may show a record twice while the number of keys changes. Records
// that cannot be read are left out and logged. A cluster cannot be listed. An unknown state or a foreign cursor is an error.
func (s *Store) List(ctx context.Context, q driver.Query) (page []driver.Record, next string, err error) {
	if s.clustered {
		return nil, "", errors.New("redisstore: the keys of a cluster cannot be listed")
	}
	if !slices.Contains([]string{"", "running", "in-doubt", "done"}, q.State) {
		return nil, "", fmt.Errorf("redisstore: no such state %q: use running, in-doubt or done", q.State)
	}
	at, err := parsePosition(q.Cursor)
	if err != nil {
		return nil, "", err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = defaultListLimit
	}
	for len(page) < limit && !at.over() {
		found, err := s.more(ctx, &at)
		if err != nil {
			return nil, "", err
		}
		for _, r := range found {
			switch {
			case !q.Matches(&r):
			case len(page) < limit:
				r.Outcome.Bytes = nil
				page = append(page, r)
			default:
				at.pending = append(at.pending, r.ID)
			}
		}
	}
	return page, at.String(), nil
}

// more returns the next records and moves on.
func (s *Store) more(ctx context.Context, at *position) ([]driver.Record, error) {
	if len(at.pending) > 0 {
		id := at.pending[0]
		at.pending = at.pending[1:]
		r, err := s.Get(ctx, id)
		if errors.Is(err, driver.ErrUndecodable) {
			return nil, nil
		}
		return []driver.Record{r}, err
	}
	if err := ended(ctx); err != nil {
		return nil, err
	}
	a := s.noID()
	a.more = []string{at.scan, s.prefix + "*}", listStep}
	p, err := s.redis.eval(ctx, s.scripts.list, a)
	if err != nil {
		return nil, s.failure(err)
	}
	at.scan = p.value
	var found []driver.Record
	for row := range slices.Chunk(p.rest, 3) {
		if r, ok := s.listed(row); ok {
			found = append(found, r)
		}
	}
	return found, nil
}

// listed reads a row of a list: key, value without its outcome, milliseconds left.
func (s *Store) listed(row []string) (driver.Record, bool) {
	id, ok := s.idOf(row[0])
	if !ok || len(row) < 3 {
		return driver.Record{}, false // a key of another kind
	}
	left, _ := strconv.ParseInt(row[2], 10, 64) // 0 when it is no number
	r, err := packed.DecodeWithoutOutcome(row[0], row[1])
	switch {
	case err != nil:
		err = unreadable(id, err)
	case left < 0:
		err = noExpiry(id, row[0])
	}
	if err != nil {
		s.log.Warn("redisstore: left out of a list", "id", id.Short(), "err", err)
		return driver.Record{}, false
	}
	return view(id, &r, time.Duration(left)*time.Millisecond), true
}

func (s *Store) idOf(key string) (id driver.ID, ok bool) {
	text, isRecord := strings.CutPrefix(key, s.prefix)
	text, closed := strings.CutSuffix(text, "}")
	n, err := base64.RawURLEncoding.Decode(id[:], []byte(text[:min(len(text), keyLen)]))
	return id, isRecord && closed && err == nil && n == len(id) && len(text) == keyLen
}

// keyLen is the length of an id in a key.
const keyLen = 43

// position is where a page ends: the cursor of SCAN, and what it had shown already that did not fit on the page.
type position struct {
	scan    string
	pending []driver.ID
}

const scanned = "0" // is the cursor of SCAN at its end, and "" is it at the beginning

func (p *position) over() bool { return p.scan == scanned && len(p.pending) == 0 }

func (p *position) String() string {
	if p.over() {
		return ""
	}
	text := p.scan
	for _, id := range p.pending {
		text += "," + base64.RawURLEncoding.EncodeToString(id[:])
	}
	return text
}

func parsePosition(cursor string) (p position, err error) {
	foreign := fmt.Errorf("redisstore: %q is not a cursor that List returned", cursor)
	for i, part := range strings.Split(cursor, ",") {
		if i == 0 {
			if _, err := strconv.ParseUint(part, 10, 64); part != "" && err != nil {
				return p, foreign
			}
			p.scan = part
			continue
		}
		b, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || len(b) != len(driver.ID{}) {
			return p, foreign
		}
		p.pending = append(p.pending, driver.ID(b))
	}
	return p, nil
}
