package redisstore

import (
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// A record that is done is answered without a look at the server, until it is resolved.
func TestReplaysFromMemory(t *testing.T) {
	server := testsvc.Redis(t)
	s := openAt(t, server.URL, &Options{Namespace: "onceward", CacheCompleted: true})
	there := openAt(t, server.URL, &Options{Namespace: "onceward"})
	id, c := newID(), claim()
	replay := func(what string) driver.Record {
		t.Helper()
		g, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "%s", what)
		check.Equal(t, g.Verdict, driver.Done, "%s", what)
		return g.Record
	}
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete")
	first := replay("from the server")
	for !known(s, id) { // its answer took long
		first = replay("from the server")
	}
	replay("into the memory")
	server.Pause()
	again := replay("from the memory")
	check.True(t, first.Left-again.Left < time.Minute && again.Left <= first.Left, "Left is %v, was %v", again.Left, first.Left)
	again.Outcome.Bytes[0] = 'x'
	other := c
	other.Fingerprint.Sum = "another request"
	g, err := s.Acquire(bg, id, other)
	check.NoError(t, err, "Acquire from the memory")
	check.Equal(t, g.Verdict, driver.Mismatch, "another request, from the memory")
	server.Resume()
	last := replay("after its slice was changed")
	last.Age, last.Left = first.Age, first.Left
	check.Equal(t, last, first, "the replay after a caller has changed its own")

	resolved := driver.Outcome{Kind: driver.Answer, Bytes: []byte("by an operator")}
	check.NoError(t, there.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true, Outcome: &resolved}), "Resolve elsewhere")
	for end := time.Now().Add(10 * time.Second); string(replay("after a Resolve").Outcome.Bytes) != "by an operator"; {
		check.True(t, time.Now().Before(end), "the old outcome is still replayed")
	}
	check.NoError(t, there.Resolve(bg, id, driver.Resolution{Fence: 2, Force: true}), "Resolve to absent, elsewhere")
	c.Owner = newOwner()
	for end := time.Now().Add(10 * time.Second); ; {
		g, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
		if g.Verdict == driver.Acquired {
			break
		}
		check.True(t, time.Now().Before(end), "the key that was made free is still %v", g.Verdict)
	}
}

// What was seen done is asked for with one command, and the server still says what it is.
func TestReplaysByOneCommand(t *testing.T) {
	server := testsvc.Redis(t)
	s, client := openAt(t, server.URL, &Options{Namespace: "onceward"}), clientOf(t, server.URL)
	there := openAt(t, server.URL, &Options{Namespace: "onceward"})
	id, c := newID(), claim()
	pair(t, s, id, &c)
	replay := func() driver.Record {
		t.Helper()
		g, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
		check.Equal(t, g.Verdict, driver.Done, "Acquire of a done key")
		return g.Record
	}
	first := replay()
	for !known(s, id) { // its answer took long
		first = replay()
	}
	redis(t, client, "CONFIG", "RESETSTAT")
	again := replay()
	m := redis(t, client, "INFO", "commandstats")
	stats, err := m.ToString()
	check.NoError(t, err, "INFO")
	for _, command := range []string{"set", "evalsha", "pttl"} {
		check.True(t, !strings.Contains(stats, "cmdstat_"+command+":"), "a replay sent %s: %s", command, stats)
	}
	check.True(t, again.Left <= first.Left && first.Left-again.Left < time.Minute, "Left is %v, was %v", again.Left, first.Left)
	resolved := driver.Outcome{Kind: driver.Answer, Bytes: []byte("by an operator"), Retain: time.Hour}
	check.NoError(t, there.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true, Outcome: &resolved}), "Resolve elsewhere")
	after := replay()
	check.Equal(t, string(after.Outcome.Bytes), "by an operator", "the outcome after a Resolve")
	check.True(t, after.Left <= time.Hour, "Left after a Resolve to an hour is %v", after.Left)
	check.NoError(t, there.Resolve(bg, id, driver.Resolution{Fence: 2, Force: true}), "Resolve to absent, elsewhere")
	c.Owner = newOwner()
	g, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	check.Equal(t, g.Verdict, driver.Acquired, "the key that was made free")
}

func known(s *Store, id driver.ID) bool {
	_, ok := s.replays.knows(id)
	return ok
}

// What is left is counted from when the server was asked, and not at all if it took long to answer: the record would seem to be
// kept for longer than it is.
func TestSlowAnswersAreNotRemembered(t *testing.T) {
	r, id := newReplays(nil, false), newID()
	r.remember(id, "key", "value", nil, time.Hour, time.Now().Add(-longestWay))
	_, ok := r.knows(id)
	check.True(t, !ok, "an answer is remembered that took %v", longestWay)
	sent := time.Now()
	r.remember(id, "key", "value", nil, time.Hour, sent)
	s, ok := r.knows(id)
	check.True(t, ok && s.at.Equal(sent), "an answer that came at once is not remembered as of when it was asked for")
}
