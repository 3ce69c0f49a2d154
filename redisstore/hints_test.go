package redisstore

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/redisstore/internal/packed"
)

// waits starts to wait and returns what comes of it.
func waits(ctx context.Context, s *Store, id driver.ID) <-chan error {
	woken := make(chan error, 1)
	go func() { woken <- s.Wait(ctx, id) }()
	return woken
}

// running is a key that somebody holds.
func running(t *testing.T, s *Store) driver.ID {
	t.Helper()
	id := newID()
	_, err := s.Acquire(bg, id, claim())
	check.NoError(t, err, "Acquire")
	return id
}

// settled waits until the subscription is there, by the hint that this is.
func settled(ctx context.Context, t *testing.T, s *Store) {
	t.Helper()
	check.NoError(t, s.Wait(ctx, running(t, s)), "the first Wait, which the beginning of the subscription ends")
}

func TestEndingsWakeWhoWaits(t *testing.T) {
	server := testsvc.SharedRedis(t)
	here := openAt(t, server.URL, nil)
	there := openAt(t, server.URL, &Options{Namespace: here.namespace})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	settled(ctx, t, here)
	for name, end := range map[string]func(id driver.ID, o driver.Owner) error{
		"Complete": func(id driver.ID, o driver.Owner) error { return there.Complete(ctx, id, o, sampled) },
		"Release":  func(id driver.ID, o driver.Owner) error { return there.Release(ctx, id, o, driver.Note{}) },
		"giving up": func(id driver.ID, o driver.Owner) error {
			return there.Extend(ctx, id, o, driver.Extension{})
		},
		"Resolve": func(id driver.ID, _ driver.Owner) error {
			return there.Resolve(ctx, id, driver.Resolution{Fence: 1, Force: true})
		},
	} {
		id, other, c := newID(), running(t, there), claim()
		_, err := there.Acquire(ctx, id, c)
		check.NoError(t, err, "Acquire")
		woken, asleep := waits(ctx, here, id), waits(ctx, here, other)
		marked(t, there, id, other)
		check.NoError(t, there.Extend(ctx, id, c.Owner, driver.Extension{Lease: time.Minute}), "Extend")
		check.NoError(t, end(id, c.Owner), "%s", name)
		check.NoError(t, <-woken, "who waits for %s", name)
		check.Equal(t, len(asleep), 0, "others that %s woke", name)
		check.NoError(t, there.Resolve(ctx, other, driver.Resolution{Fence: 1, Force: true}), "Resolve")
		check.NoError(t, <-asleep, "who waits for the other key")
	}
}

// marked returns when somebody waits for each of the keys and the server knows.
func marked(t *testing.T, s *Store, ids ...driver.ID) {
	t.Helper()
	for _, id := range ids {
		a := s.newCall(id, 0)
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
			p, err := s.redis.eval(bg, s.scripts.get, a)
			check.NoError(t, err, "GET")
			r, err := packed.Decode(a.key(), p.value)
			check.NoError(t, err, "Decode")
			if r.State == packed.Awaited {
				break
			}
			check.True(t, time.Now().Before(end), "nobody is awaited")
		}
	}
}

// entered returns when so many wait.
func entered(t *testing.T, s *Store, want int) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		s.hints.mu.Lock()
		got := len(s.hints.waiting)
		s.hints.mu.Unlock()
		if got == want {
			return
		}
		check.True(t, time.Now().Before(end), "%d wait, want %d", got, want)
	}
}

func TestWaitingEnds(t *testing.T) {
	server := testsvc.Redis(t)
	s := openAt(t, server.URL, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	settled(ctx, t, s)

	left, leave := context.WithCancel(ctx)
	woken := waits(left, s, running(t, s))
	entered(t, s, 1)
	leave()
	check.ErrorIs(t, <-woken, context.Canceled, "Wait of a caller that left")

	id := running(t, s)
	woken = waits(ctx, s, id)
	marked(t, s, id)
	server.Kill()
	server.Restart()
	check.NoError(t, <-woken, "Wait over a restart of the server, which loses hints")

	s = openAt(t, server.URL, nil) // the connections of the other have to find out first
	settled(ctx, t, s)
	woken = waits(ctx, s, running(t, s))
	entered(t, s, 1)
	s.hints.close()
	check.True(t, <-woken != nil, "Wait goes on after Close")
	check.True(t, s.Wait(ctx, newID()) != nil, "Wait after Close")
}

func TestNobodyListensWhenNobodyWaits(t *testing.T) {
	server := testsvc.Redis(t)
	s, client := openAt(t, server.URL, nil), clientOf(t, server.URL)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	settled(ctx, t, s)
	listeners := func() int64 {
		m := redis(t, client, "PUBSUB", "NUMSUB", s.hints.channel)
		parts, err := m.ToArray()
		check.NoError(t, err, "PUBSUB NUMSUB")
		n, err := parts[1].AsInt64()
		check.NoError(t, err, "PUBSUB NUMSUB")
		return n
	}
	check.Equal(t, listeners(), 1, "subscriptions while somebody waits, or has just waited")
	s.hints.rest() // as the timer does
	s.hints.running.Wait()
	check.Equal(t, listeners(), 0, "subscriptions when nobody has waited for a while")
	settled(ctx, t, s)
}

// A record that nobody waits for ends without a word, and one that does not run is looked at again soon.
func TestOnlyWhoIsAwaitedIsTold(t *testing.T) {
	server := testsvc.Redis(t)
	s, client := openAt(t, server.URL, nil), clientOf(t, server.URL)
	told := func() int64 {
		m := redis(t, client, "INFO", "commandstats")
		text, err := m.ToString()
		check.NoError(t, err, "INFO")
		calls, _, _ := strings.Cut(strings.TrimPrefix(factsOf(text).info["cmdstat_publish"], "calls="), ",")
		n, _ := strconv.ParseInt(calls, 10, 64) // absent before the first
		return n
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	settled(ctx, t, s)
	for range 3 {
		id, c := newID(), claim()
		pair(t, s, id, &c)
		check.NoError(t, s.Wait(bg, id), "Wait for what is done")
		check.NoError(t, s.Wait(bg, newID()), "Wait for what is absent")
	}
	check.Equal(t, told(), 0, "hints that nobody asked for")
	id, c := newID(), claim()
	_, err := s.Acquire(ctx, id, c)
	check.NoError(t, err, "Acquire")
	woken := waits(ctx, s, id)
	marked(t, s, id)
	check.NoError(t, s.Extend(ctx, id, c.Owner, driver.Extension{Lease: time.Minute}), "Extend")
	marked(t, s, id)
	check.NoError(t, s.Complete(ctx, id, c.Owner, sampled), "Complete")
	check.NoError(t, <-woken, "who waits")
	check.Equal(t, told(), 1, "hints that somebody asked for")

	// Somebody may have asked for it between the owners.
	id, c = newID(), claim()
	c.OnCrash, c.MaxAttempts = driver.Rerun, 2
	for range 2 {
		c.Owner = newOwner()
		g, err := s.Acquire(ctx, id, c)
		check.NoError(t, err, "Acquire")
		check.Equal(t, g.Verdict, driver.Acquired, "Acquire of what is new, or was given up")
		if g.Record.Attempt == 1 {
			check.NoError(t, s.Extend(ctx, id, c.Owner, driver.Extension{}), "giving up")
		}
	}
	check.NoError(t, s.Complete(ctx, id, c.Owner, sampled), "Complete")
	check.Equal(t, told(), 2, "hints when one who took over is done")
}
