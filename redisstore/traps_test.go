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

// every makes each call of the contract and returns the errors by name.
func every(s *Store, id driver.ID, c driver.Claim) map[string]error {
	_, acquired := s.Acquire(bg, id, c)
	_, got := s.Get(bg, id)
	return map[string]error{
		"Acquire": acquired, "Get": got,
		"Extend":   s.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}),
		"Complete": s.Complete(bg, id, c.Owner, sampled),
		"Release":  s.Release(bg, id, c.Owner, driver.Note{}),
		"Resolve":  s.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true}),
	}
}

// What another application, a later version or damage left under a key of the store is neither absent nor touched.
func TestUnreadableValues(t *testing.T) {
	server := testsvc.SharedRedis(t)
	client := clientOf(t, server.URL)
	s := openAt(t, server.URL, nil)
	byScripts := openAt(t, server.URL, &Options{Namespace: s.namespace})
	byScripts.direct = nil

	put := func(value string) func(key string) {
		return func(key string) { redis(t, client, "SET", key, value, "PX", "100000") }
	}
	for name, spoil := range map[string]func(key string){
		"another application's": put("of somebody else"),
		"an empty one":          put(""),
		"the version's byte":    put("\x02"),
		"a later version": func(key string) {
			redis(t, client, "SETRANGE", key, "0", "\x03")
		},
		"a flipped bit in the head": func(key string) { redis(t, client, "SETBIT", key, "196", "1") },
		"no expiry":                 func(key string) { redis(t, client, "PERSIST", key) },
		"another key's value": func(key string) {
			redis(t, client, "COPY", key, key+"x")
			redis(t, client, "DEL", key)
			other, c := newID(), claim()
			_, err := s.Acquire(bg, other, c)
			check.NoError(t, err, "Acquire")
			a := s.newCall(other, 0)
			redis(t, client, "RENAME", a.key(), key)
		},
		"a list": func(key string) {
			redis(t, client, "DEL", key)
			redis(t, client, "RPUSH", key, "of somebody else")
		},
	} {
		for _, s := range []*Store{s, byScripts} {
			id, c := newID(), claim()
			_, err := s.Acquire(bg, id, c)
			check.NoError(t, err, "Acquire")
			a := s.newCall(id, 0)
			spoil(a.key())
			before := redis(t, client, "DUMP", a.key())
			c.Owner = newOwner()
			for call, err := range every(s, id, c) {
				if name == "no expiry" && call == "Complete" {
					check.ErrorIs(t, err, driver.ErrLost, "Complete, which needs no clock, by somebody else")
					continue
				}
				check.ErrorIs(t, err, driver.ErrUndecodable, "%s on %s", call, name)
				mended := strings.Contains(err.Error(), "PEXPIRE "+a.key()) && strings.Contains(err.Error(), "DEL "+a.key())
				check.Equal(t, mended, name == "no expiry", "whether %v says how to mend it", err)
			}
			after := redis(t, client, "DUMP", a.key())
			check.Equal(t, after.String(), before.String(), "%s afterwards", name)
		}
	}
}

func TestScriptsThatRedisForgot(t *testing.T) {
	server := testsvc.Redis(t)
	s := openAt(t, server.URL, nil)
	id, c := newID(), claim()
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	forget := map[string]func(){
		"a restart":    func() { server.Kill(); server.Restart() },
		"SCRIPT FLUSH": func() { redis(t, clientOf(t, server.URL), "SCRIPT", "FLUSH") },
	}
	for what, f := range forget {
		f()
		insist(t, "Extend after "+what, func() error { return s.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}) })
	}
}

// insist repeats a call over the moment in which a connection breaks.
func insist(t testing.TB, what string, call func() error) {
	t.Helper()
	err := call()
	for end := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(end); {
		err = call()
	}
	check.NoError(t, err, "%s", what)
}

// What Redis refuses, the caller may take for refused.
func TestRefusals(t *testing.T) {
	server := testsvc.Redis(t)
	s, client := openAt(t, server.URL, nil), clientOf(t, server.URL)
	id, c := newID(), claim()
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	refused := func(hint string) {
		t.Helper()
		for call, err := range every(s, id, c) {
			check.ErrorIs(t, err, driver.ErrUnavailable, "%s", call)
			check.True(t, !errors.Is(err, driver.ErrFull) && !errors.Is(err, driver.ErrUndecodable), "%s: %v", call, err)
			check.True(t, strings.Contains(err.Error(), hint), "%s: %q does not say %q", call, err, hint)
		}
		_, _, err := s.List(bg, driver.Query{})
		check.ErrorIs(t, err, driver.ErrUnavailable, "List")
	}
	redis(t, client, "REPLICAOF", "127.0.0.1", "1")
	refused("connect to the primary")
	_, err = Open(server.URL, &Options{Logger: quiet})
	check.ErrorIs(t, err, driver.ErrUnavailable, "opening a replica")
	redis(t, client, "REPLICAOF", "NO", "ONE")
	redis(t, client, "ACL", "SETUSER", "default", "-@scripting", "-set")
	refused("rights")
	redis(t, client, "ACL", "SETUSER", "default", "+@all")
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete when all is well again")

	server.Stop()
	for range 8 { // rueidis has four connections, and the first call on each finds it broken
		_, err = s.Get(bg, id)
	}
	check.ErrorIs(t, err, driver.ErrUnavailable, "Get from a server that is down")
	_, err = Open(server.URL, &Options{Logger: quiet})
	check.ErrorIs(t, err, driver.ErrUnavailable, "opening a server that is down")
	server.Restart()
}

// A silent server has perhaps done what it was asked.
func TestSilenceIsUnknown(t *testing.T) {
	server := testsvc.Redis(t)
	s := openAt(t, server.URL, nil)
	server.Pause()
	ctx, cancel := context.WithTimeout(bg, 100*time.Millisecond)
	defer cancel()
	_, err := s.Acquire(ctx, newID(), claim())
	server.Resume()
	check.True(t, err != nil && !errors.Is(err, driver.ErrUnavailable), "Acquire on a silent server: %v", err)
}

// Only the server's clock judges, so the same steps leave the same bytes whenever and by whomever they are made.
func TestValuesHoldNoInstant(t *testing.T) {
	server := testsvc.SharedRedis(t)
	client := clientOf(t, server.URL)
	c, id := claim(), newID()
	values := make(map[string]string)
	for range 2 {
		s := openAt(t, server.URL, &Options{Namespace: "onceward"})
		byScripts := openAt(t, server.URL, &Options{Namespace: "onceward"})
		byScripts.direct = nil
		for _, s := range []*Store{s, byScripts} {
			a := s.newCall(id, 0)
			step := func(name string, err error) {
				t.Helper()
				check.NoError(t, err, "%s", name)
				m := redis(t, client, "GET", a.key())
				value, err := m.ToString()
				check.NoError(t, err, "GET after %s", name)
				if first, ok := values[name]; ok {
					check.Equal(t, value, first, "the value after %s", name)
				}
				values[name] = value
			}
			_, err := s.Acquire(bg, id, c)
			step("Acquire", err)
			step("Complete", s.Complete(bg, id, c.Owner, sampled))
			step("Resolve", s.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true}))
			redis(t, client, "DEL", a.key())
		}
		time.Sleep(2 * time.Millisecond) // that time passes is what this is about
	}
}
