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
	mostReplays = 1 << 16 // ids that are remembered
	// longestStay of a value in this process is longer than any retention, because rueidis tells the lesser of the two as what
	// is left. Redis says when a value goes, and rueidis drops all of a connection's when that ends.
	longestStay = 100 * 365 * 24 * time.Hour
	// longestMoment is how long this process keeps the time by itself, before it asks again what is left.
	longestMoment = 10 * time.Second
)

// replays knows which ids were done when this process saw them last, so that only these are looked up before the server is
// asked to judge: a new key does not cost a round trip more.
type replays struct {
	client rueidis.Client
	cached bool // by the client

	mu   sync.Mutex
	done map[driver.ID]seen
}

// seen is a done record at some moment.
type seen struct {
	beginning string // of its value
	left      time.Duration
	at        time.Time
}

func newReplays(client rueidis.Client, cached bool) *replays {
	return &replays{client: client, cached: cached, done: make(map[driver.ID]seen)}
}

func (r *replays) remember(id driver.ID, value string, left time.Duration) {
	if r == nil {
		return
	}
	s := seen{beginning: strings.Clone(packed.Beginning(value)), left: left, at: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.done) >= mostReplays {
		for any := range r.done {
			delete(r.done, any)
			break
		}
	}
	r.done[id] = s
}

func (r *replays) forget(id driver.ID) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.done, id)
}

func (r *replays) knows(id driver.ID) (s seen, ok bool) {
	if r == nil {
		return s, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s, ok = r.done[id]
	return s, ok
}

// get reads the value and for how long it is kept: from the memory of this process, or else from the server, which tells the
// value only. What was left of the same value a moment ago says the rest.
func (r *replays) get(ctx context.Context, key string, s *seen) (value string, left time.Duration, err error) {
	if r.cached {
		m, err := r.client.DoCache(ctx, r.client.B().Get().Key(key).Cache(), longestStay).ToMessage()
		if err != nil {
			return "", 0, err
		}
		value, err = m.ToString()
		return value, time.Duration(m.CachePTTL()) * time.Millisecond, err
	}
	value, err = r.client.Do(ctx, r.client.B().Arbitrary("GET").Keys(key).Build()).ToString() // not from a replica
	if age := time.Since(s.at); age < longestMoment && strings.HasPrefix(value, s.beginning) {
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
	a := s.newCall(id, 0)
	key := a.key()
	value, left, err := s.replays.get(ctx, key, &known)
	if err == nil && left <= 0 {
		return driver.Grant{}, false
	}
	r, broken := packed.Decode(key, value)
	if err != nil || broken != nil || r.State < packed.Done {
		s.replays.forget(id)
		return driver.Grant{}, false
	}
	verdict := driver.Mismatch
	if c.Matches(r.Fingerprint) {
		verdict = driver.Done
	}
	return driver.Grant{Verdict: verdict, Record: view(id, &r, left)}, true
}
