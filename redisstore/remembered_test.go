package redisstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// forgetful completes as a process does that has not acquired.
type forgetful struct{ *Store }

func (s *forgetful) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	s.begun.take(id)
	return s.Store.Complete(ctx, id, o, out)
}

// What an owner remembers of its record may be wrong when it completes: others have written meanwhile. Then it comes to the
// same as if it had forgotten.
func TestCompleteOfWhatHasChanged(t *testing.T) {
	server := testsvc.SharedRedis(t)
	here, client := openAt(t, server.URL, nil), clientOf(t, server.URL)
	there := openAt(t, server.URL, &Options{Namespace: here.namespace})
	key := func(id driver.ID) string {
		a := here.newCall(id, 0)
		return a.key()
	}
	mine := claim()
	mine.OnCrash, mine.MaxAttempts, mine.Lease = driver.Rerun, 5, 40*time.Second
	other := mine
	other.Owner = newOwner()
	takenOver := func(id driver.ID) {
		check.NoError(t, there.Extend(bg, id, mine.Owner, driver.Extension{}), "giving up")
		g, err := there.Acquire(bg, id, other)
		check.NoError(t, err, "Acquire")
		check.Equal(t, g.Verdict, driver.Acquired, "Acquire of what was given up")
	}
	for name, change := range map[string]func(id driver.ID){
		"nothing":           func(driver.ID) {},
		"a longer lease":    func(id driver.ID) { _ = there.Extend(bg, id, mine.Owner, driver.Extension{Lease: time.Hour}) },
		"a lease given up":  func(id driver.ID) { _ = there.Extend(bg, id, mine.Owner, driver.Extension{}) },
		"another retention": func(id driver.ID) { c := mine; c.Retain = time.Hour; _, _ = there.Acquire(bg, id, c) },
		"somebody waits":    func(id driver.ID) { _ = there.transition(bg, id, there.scripts.await, there.newCall(id, 0), 0) },
		"another owner":     takenOver,
		"a release":         func(id driver.ID) { _ = there.Release(bg, id, mine.Owner, driver.Note{}) },
		"the same outcome":  func(id driver.ID) { _ = there.Complete(bg, id, mine.Owner, sampled) },
		"another outcome":   func(id driver.ID) { _ = there.Complete(bg, id, mine.Owner, driver.Outcome{Kind: driver.Tombstone}) },
		"an operator": func(id driver.ID) {
			_ = there.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true, Outcome: &driver.Outcome{Kind: driver.Answer}})
		},
		"its end":                   func(id driver.ID) { redis(t, client, "DEL", key(id)) },
		"a value of somebody else":  func(id driver.ID) { redis(t, client, "SET", key(id), "of somebody else", "PX", "100000") },
		"a key acquired by another": func(id driver.ID) { redis(t, client, "DEL", key(id)); _, _ = there.Acquire(bg, id, other) },
		"the same of another host": func(id driver.ID) {
			redis(t, client, "DEL", key(id))
			c := mine
			c.Labels.Host = "elsewhere"
			_, _ = there.Acquire(bg, id, c)
		},
	} {
		ends := func(forget bool, retain time.Duration) (told string, r driver.Record) {
			id := newID()
			_, err := here.Acquire(bg, id, mine)
			check.NoError(t, err, "Acquire")
			change(id)
			if forget {
				here.begun.take(id)
			}
			out := sampled
			out.Retain = retain
			err = here.Complete(bg, id, mine.Owner, out)
			r, failed := here.Get(bg, id)
			r.ID, r.Age, r.Left = driver.ID{}, 0, r.Left.Round(time.Minute)
			r.Lease = max(0, r.Lease).Round(time.Minute)
			return errorKinds(err) + " · " + errorKinds(failed), r
		}
		for _, retain := range []time.Duration{0, 2 * time.Hour} {
			told, r := ends(true, retain)
			again, same := ends(false, retain)
			check.Equal(t, again, told, "what the owner is told after %s, with retention %v", name, retain)
			check.Equal(t, same, r, "the record after %s, with retention %v", name, retain)
		}
	}
}

func errorKinds(err error) string {
	var kinds []string
	for name, kind := range map[string]error{"lost": driver.ErrLost, "undecodable": driver.ErrUndecodable} {
		if errors.Is(err, kind) {
			kinds = append(kinds, name)
		}
	}
	if err != nil && len(kinds) != 1 {
		return err.Error()
	}
	return strings.Join(kinds, "")
}

// A Complete that finds what it remembers reads no more than that, and every process can end what another has begun.
func TestCompleteReadsLittle(t *testing.T) {
	server := testsvc.Redis(t)
	s, client := openAt(t, server.URL, nil), clientOf(t, server.URL)
	id, c := newID(), claim()
	pair(t, s, id, &c)
	m := redis(t, client, "INFO", "commandstats")
	stats, err := m.ToString()
	check.NoError(t, err, "INFO")
	for command, want := range map[string]bool{"set": true, "evalsha": true, "getrange": true, "get": false, "pttl": false} {
		check.Equal(t, strings.Contains(stats, "cmdstat_"+command+":"), want, "whether a pair makes a %s: %s", command, stats)
	}
	check.Equal(t, len(s.begun.of), 0, "what is remembered of a done record")
}

// What was forgotten because it is no longer true does not come back.
func TestReplaceOfWhatWasForgotten(t *testing.T) {
	var r remembered[string]
	id := newID()
	r.put(id, "old")
	r.replace(id, "old", "new")
	r.replace(id, "old", "newer")
	check.Equal(t, r.take(id), "new", "what is remembered")
	r.replace(id, "new", "newer")
	_, ok := r.get(id)
	check.True(t, !ok, "what was forgotten is there again")
}

func TestRememberedIsBounded(t *testing.T) {
	var r remembered[string]
	for range mostRemembered + 10 {
		r.put(newID(), "")
	}
	check.Equal(t, len(r.of), mostRemembered, "ids that are remembered")
}
