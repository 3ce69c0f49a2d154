package redisstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// What is larger than Redis reads in one piece is not sent, because Redis ends the connection of who sends it.
func TestOutcomesThatRedisDoesNotRead(t *testing.T) {
	server := testsvc.Redis(t, "proto-max-bulk-len 1mb")
	s, client := openAt(t, server.URL, nil), clientOf(t, server.URL)
	connections := func() string {
		m := redis(t, client, "INFO", "stats")
		text, err := m.ToString()
		check.NoError(t, err, "INFO")
		return factsOf(text).info["total_connections_received"]
	}
	id, c := newID(), claim()
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	before := connections()
	large := driver.Outcome{Kind: driver.Answer, Bytes: []byte(strings.Repeat("x", 1<<20))}
	for call, err := range map[string]error{
		"Complete": s.Complete(bg, id, c.Owner, large),
		"Resolve":  s.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true, Outcome: &large}),
	} {
		check.ErrorIs(t, err, driver.ErrUnavailable, "%s", call)
		check.True(t, strings.Contains(err.Error(), "proto-max-bulk-len"), "%s names no limit: %v", call, err)
	}
	check.Equal(t, connections(), before, "connections, of which none may have ended")
	large.Bytes = large.Bytes[:1<<20-1000]
	check.NoError(t, s.Complete(bg, id, c.Owner, large), "Complete with as much as there is room for")
}

// A record says the length of its texts in three bytes.
func TestTextsThatARecordDoesNotHold(t *testing.T) {
	server := testsvc.SharedRedis(t)
	s := openAt(t, server.URL, nil)
	id, c := newID(), claim()
	long := strings.Repeat("x", 1<<24)
	note := driver.Note{Reason: long}
	for what, c := range map[string]driver.Claim{
		"an operation":  {Labels: driver.Labels{Operation: long}},
		"a note":        {Note: note},
		"a fingerprint": {Fingerprint: driver.Fingerprint{Sum: long}},
	} {
		_, err := s.Acquire(bg, id, c)
		check.ErrorIs(t, err, driver.ErrFull, "Acquire with %s of 16 MiB", what)
	}
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire of what was refused")
	out := sampled
	out.Note = note
	for call, err := range map[string]error{
		"Extend":   s.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute, Note: note}),
		"Complete": s.Complete(bg, id, c.Owner, out),
		"Resolve":  s.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true, Outcome: &sampled, Note: note}),
	} {
		check.ErrorIs(t, err, driver.ErrUnavailable, "%s with a note of 16 MiB", call)
	}
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete of a record that is as it was")
	r, err := s.Get(bg, id)
	check.NoError(t, err, "Get")
	check.Equal(t, r.State(), "done", "the record")
}

// An outcome that somebody forgot to give a kind makes no key free.
func TestResolveNeedsAKind(t *testing.T) {
	s := openAt(t, testsvc.SharedRedis(t).URL, nil)
	id := running(t, s)
	err := s.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true, Outcome: &driver.Outcome{Bytes: []byte("paid")}})
	check.True(t, errors.Is(err, driver.ErrUnavailable) && strings.Contains(err.Error(), "Kind"), "Resolve: %v", err)
	r, err := s.Get(bg, id)
	check.NoError(t, err, "Get")
	check.Equal(t, r.State(), "running", "the record")
}
