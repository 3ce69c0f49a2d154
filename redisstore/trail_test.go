package redisstore

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

func history(t *testing.T, s *Store, id driver.ID) []driver.Entry {
	t.Helper()
	page, _, err := s.History(bg, driver.HistoryQuery{ID: &id})
	check.NoError(t, err, "History")
	return page
}

func trailKey(s *Store, id driver.ID) string {
	a := s.newCall(id, 0)
	s.toTrail(&a, new(driver.Note), 0)
	return a.trail
}

// What runs is ended and told of also when Redis takes no new keys.
func TestTrailOfAFullServer(t *testing.T) {
	server := testsvc.Redis(t)
	s, client := openAt(t, server.URL, &Options{Namespace: "onceward", Audit: driver.AuditAll}), clientOf(t, server.URL)
	id, c := newID(), claim()
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	redis(t, client, "CONFIG", "SET", "maxmemory", "1")
	_, err = s.Acquire(bg, newID(), c)
	check.ErrorIs(t, err, driver.ErrFull, "Acquire of a new key")
	_, err = s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire repeated")
	check.NoError(t, s.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}), "Extend")
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete")
	check.Equal(t, len(history(t, s, id)), 4, "entries")
}

// The trail goes by itself, and is trimmed by who adds to it.
func TestTrailIsForgotten(t *testing.T) {
	server := testsvc.SharedRedis(t)
	client := clientOf(t, server.URL)
	id, c := newID(), claim()
	brief := openAt(t, server.URL, &Options{Namespace: testsvc.Name(), Audit: driver.AuditAll, AuditRetention: 20 * time.Millisecond})
	forGood := openAt(t, server.URL, &Options{Namespace: brief.namespace, Audit: driver.AuditAll, AuditRetention: -1})
	left := func() int64 {
		m := redis(t, client, "PTTL", trailKey(brief, id))
		n, err := m.AsInt64()
		check.NoError(t, err, "PTTL")
		return n
	}
	_, err := brief.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	check.True(t, left() <= 20, "the trail is kept for longer than it was asked to be")
	_, err = forGood.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	check.Equal(t, left(), -1, "the expiry of a trail for ever")
	for end := time.Now().Add(10 * time.Second); len(history(t, brief, id)) > 0; {
		check.True(t, time.Now().Before(end), "what is over is still shown")
	}
	check.True(t, len(history(t, forGood, id)) > 0, "what is kept for ever is gone")
	check.NoError(t, brief.Complete(bg, id, c.Owner, sampled), "Complete")
	check.Equal(t, len(history(t, forGood, id)), 1, "entries after the older ones were trimmed")
}

func TestTrailIsReadByIDOnly(t *testing.T) {
	server := testsvc.SharedRedis(t)
	s := openAt(t, server.URL, &Options{Namespace: testsvc.Name(), Audit: driver.AuditTransitions})
	off := openAt(t, server.URL, &Options{Namespace: s.namespace})
	id, c := newID(), claim()
	pair(t, s, id, &c)
	_, _, err := s.History(bg, driver.HistoryQuery{Operation: c.Labels.Operation})
	check.ErrorIs(t, err, errors.ErrUnsupported, "History by operation")
	check.True(t, strings.Contains(err.Error(), "by id"), "the error does not say what can be asked: %v", err)
	check.Equal(t, len(history(t, off, id)), 2, "entries for a process that keeps none")
	other := newID()
	pair(t, off, other, &c)
	_, _, err = off.History(bg, driver.HistoryQuery{ID: &other})
	check.ErrorIs(t, err, errors.ErrUnsupported, "History without a trail")
	check.True(t, strings.Contains(err.Error(), "Options.Audit"), "the error says nothing to do: %v", err)
	check.Equal(t, len(history(t, s, other)), 0, "entries of a key whose steps nobody kept")
	_, err = Open(server.URL, &Options{Audit: 3, Logger: quiet})
	check.True(t, err != nil && strings.Contains(err.Error(), "Options.Audit"), "level 3: %v", err)
}

// A step that cannot be told of is not made, and an entry that cannot be read is not passed over.
func TestForeignTrail(t *testing.T) {
	server := testsvc.SharedRedis(t)
	s, client := openAt(t, server.URL, &Options{Namespace: testsvc.Name(), Audit: driver.AuditTransitions}), clientOf(t, server.URL)
	id, c := newID(), claim()
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	redis(t, client, "XADD", trailKey(s, id), "*", "entry", "of somebody else")
	_, _, err = s.History(bg, driver.HistoryQuery{ID: &id})
	check.ErrorIs(t, err, driver.ErrUndecodable, "History with an entry of somebody else")
	redis(t, client, "SET", trailKey(s, id), "of somebody else")
	for name, call := range map[string]func() error{
		"Complete": func() error { return s.Complete(bg, id, c.Owner, sampled) },
		"Release":  func() error { return s.Release(bg, id, c.Owner, driver.Note{}) },
		"Resolve":  func() error { return s.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true}) },
		"giving up": func() error {
			return s.Extend(bg, id, c.Owner, driver.Extension{})
		},
	} {
		check.ErrorIs(t, call(), driver.ErrUndecodable, "%s", name)
		r, err := s.Get(bg, id)
		check.NoError(t, err, "Get")
		check.Equal(t, r.State()+" "+r.Outcome.Kind.String(), "running invalid", "the record after %s", name)
	}
	redis(t, client, "DEL", trailKey(s, id))
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete when all is well again")
}

// For how long a trail is kept is for those to say who run things.
func TestResolveRemovesNothingFromTheTrail(t *testing.T) {
	server := testsvc.SharedRedis(t)
	client := clientOf(t, server.URL)
	namespace := testsvc.Name()
	open := func(retention time.Duration) *Store {
		return openAt(t, server.URL, &Options{Namespace: namespace, Audit: driver.AuditTransitions, AuditRetention: retention})
	}
	ever, off := open(-1), openAt(t, server.URL, &Options{Namespace: namespace})
	left := func(id driver.ID) time.Duration {
		m := redis(t, client, "PTTL", trailKey(ever, id))
		n, err := m.AsInt64()
		check.NoError(t, err, "PTTL")
		return (time.Duration(n) * time.Millisecond).Round(time.Hour)
	}
	const day = 24 * time.Hour
	for _, c := range []struct {
		by, resolver *Store
		want         time.Duration
	}{
		{ever, open(time.Hour), 0}, // which is none
		{open(300 * day), open(time.Hour), 300 * day},
		{open(time.Hour), open(2 * time.Hour), 2 * time.Hour},
		{open(time.Hour), ever, 90 * day},
		{off, open(time.Hour), time.Hour},
		{off, ever, 90 * day},
	} {
		id := running(t, c.by)
		check.NoError(t, c.resolver.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true}), "Resolve")
		check.Equal(t, left(id), c.want, "left of a trail of %v after a Resolve by %v", c.by.auditRetention, c.resolver.auditRetention)
	}

	id := running(t, ever)
	brief := open(time.Millisecond)
	for end := time.Now().Add(10 * time.Second); len(history(t, brief, id)) > 0; {
		check.True(t, time.Now().Before(end), "what is over for the one who resolves is still shown")
	}
	check.NoError(t, brief.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true}), "Resolve")
	check.Equal(t, len(history(t, ever, id)), 2, "entries")
}

// A retention that begins before 1970 is as good as for ever.
func TestLongTrail(t *testing.T) {
	s := openAt(t, testsvc.SharedRedis(t).URL, &Options{Namespace: testsvc.Name(), Audit: driver.AuditAll, AuditRetention: math.MaxInt64})
	id, c := newID(), claim()
	pair(t, s, id, &c)
	check.Equal(t, len(history(t, s, id)), 2, "entries")
}
