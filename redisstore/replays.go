package redisstore

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/redisstore/internal/packed"
)

const (
	// longestStay of a value in this process is longer than any retention, because rueidis tells the lesser of the two as what
	// is left. Redis says when a value goes, and rueidis drops all of a connection's when that ends.
	longestStay = 100 * 365 * 24 * time.Hour
	// longestMoment is how long this process keeps the time by itself, before it asks again what is left.
	longestMoment = 10 * time.Second
	// longestWay is how long the answer that tells what is left of a value may have taken. It counts from when it was asked
	// for, so that nothing is said to be kept for longer than it is.
	longestWay = 100 * time.Millisecond
	// longestKept is how long a value may be of which this process keeps more than the beginning.
	longestKept = 1 << 10
)

// replays knows which ids were done when this process saw them last, so that only these are looked up before the server is
// asked to judge: a new key does not cost a round trip more.
type replays struct {
	client rueidis.Client
	cached bool // by the client
	done   remembered[*seen]
}

// seen is a done record at some moment. It does not change.
type seen struct {
	key    string
	get    rueidis.Cacheable // is used again and again
	value  string            // or only how it begins, which no other done record of the key does
	record *packed.Record    // of the value, or nil when that is too long, or not read yet where replays will find it
	left   time.Duration
	at     time.Time // when the server was asked
}

func newReplays(client rueidis.Client, cached bool) *replays {
	return &replays{client: client, cached: cached}
}

func (r *replays) remember(id driver.ID, key, value string, record *packed.Record, left time.Duration, sent time.Time) {
	if r == nil || time.Since(sent) > longestWay {
		return
	}
	s := &seen{key: strings.Clone(key), value: value, record: record, left: left, at: sent}
	if len(value) > longestKept {
		s.value, s.record = strings.Clone(packed.Beginning(value)), nil
	}
	if r.cached {
		s.get, s.record = r.client.B().Get().Key(s.key).Cache().Pin(), nil
	}
	r.done.put(id, s)
}

// keep remembers what the value in the memory of the client was decoded to. The same string is soon found equal.
func (r *replays) keep(id driver.ID, known *seen, value string, record *packed.Record) {
	if r.cached && len(value) <= longestKept {
		s := *known
		s.value, s.record = value, record
		r.done.replace(id, known, &s)
	}
}

func (r *replays) forget(id driver.ID) {
	if r != nil {
		r.done.take(id)
	}
}

func (r *replays) knows(id driver.ID) (s *seen, ok bool) {
	if r == nil {
		return nil, false
	}
	return r.done.get(id)
}

// look reads the value and for how long it is kept: from the memory of this process, or else from the server, which tells the
// value only. What was left of the same value a moment ago says the rest.
func (r *replays) look(ctx context.Context, s *seen) (value string, left time.Duration, err error) {
	if r.cached {
		m, err := r.client.DoCache(ctx, s.get, longestStay).ToMessage()
		if err != nil {
			return "", 0, err
		}
		value, err = m.ToString()
		return value, time.Duration(m.CachePTTL()) * time.Millisecond, err
	}
	value, err = r.client.Do(ctx, r.client.B().Arbitrary("GET").Keys(s.key).Build()).ToString() // not from a replica
	if age := time.Since(s.at); age < longestMoment && strings.HasPrefix(value, s.value) {
		left = s.left - age
	}
	return value, left, err
}

// replay answers a claim on a done record. Whatever else it finds, the server has to judge.
func (s *Store) replay(ctx context.Context, id driver.ID, c *driver.Claim) (driver.Grant, bool) {
	known, ok := s.replays.knows(id)
	if !ok {
		return driver.Grant{}, false
	}
	value, left, err := s.replays.look(ctx, known)
	if err == nil && left <= 0 {
		return driver.Grant{}, false
	}
	r := known.record
	if err != nil || r == nil || value != known.value {
		decoded, broken := packed.Decode(known.key, value)
		if err != nil || broken != nil || decoded.State < packed.Done {
			s.replays.forget(id)
			return driver.Grant{}, false
		}
		r = &decoded
		s.replays.keep(id, known, value, r)
	}
	verdict := driver.Mismatch
	if c.Matches(r.Fingerprint) {
		verdict = driver.Done
	}
	return driver.Grant{Verdict: verdict, Record: view(id, r, left)}, true
}

const mostRemembered = 1 << 16

// remembered is what this process knows of some ids, to ask the server for less. It may always be wrong or gone: the server
// judges. When it is full, any other id is forgotten. The zero value is ready to use.
type remembered[V comparable] struct {
	mu sync.Mutex
	of map[driver.ID]V
}

func (r *remembered[V]) put(id driver.ID, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = make(map[driver.ID]V)
	}
	if len(r.of) >= mostRemembered {
		for other := range r.of {
			delete(r.of, other)
			break
		}
	}
	r.of[id] = v
}

func (r *remembered[V]) get(id driver.ID) (v V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v, ok = r.of[id]
	return v, ok
}

// replace puts v where old still is: not where it was forgotten meanwhile.
func (r *remembered[V]) replace(id driver.ID, old, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now, ok := r.of[id]; ok && now == old {
		r.of[id] = v
	}
}

// take returns what was remembered, and forgets it.
func (r *remembered[V]) take(id driver.ID) V {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.of[id]
	delete(r.of, id)
	return v
}
