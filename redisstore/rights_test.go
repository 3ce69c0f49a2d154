package redisstore

import (
	"bufio"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// documentedACL are the lines of the command in the documentation of the package.
func documentedACL(t *testing.T) (lines []string) {
	t.Helper()
	file, err := os.Open("redisstore.go")
	check.NoError(t, err, "the documentation")
	defer file.Close()
	for in := bufio.NewScanner(file); in.Scan(); {
		text, ok := strings.CutPrefix(in.Text(), "//\t")
		if ok && (strings.HasPrefix(text, "ACL ") || len(lines) > 0 && strings.HasPrefix(text, "  ")) {
			lines = append(lines, text)
		} else if len(lines) > 0 {
			break
		}
	}
	check.Equal(t, len(lines), 6, "lines of the documented ACL: %q", lines)
	return lines
}

// limited is the URL of the server for a user with these rights.
func limited(t *testing.T, server *testsvc.Server, lines []string, more ...string) string {
	t.Helper()
	redis(t, clientOf(t, server.URL), append(strings.Fields(strings.Join(lines, " ")), more...)...)
	return strings.Replace(server.URL, "redis://", "redis://onceward:password@", 1)
}

// The user of the documentation can do all that a store does, and nothing with the keys of others.
func TestRightsOfTheDocumentation(t *testing.T) {
	server := testsvc.Redis(t)
	url := limited(t, server, documentedACL(t))
	s := openAt(t, url, &Options{Namespace: "onceward", CacheCompleted: true, Audit: driver.AuditAll})
	check.Equal(t, s.Promise().Doubts, nil, "doubts of a user who may ask for appendfsync")

	id, c := newID(), claim()
	for range 4 {
		_, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
		if err := s.Complete(bg, id, c.Owner, sampled); err != nil {
			t.Fatal(err)
		}
	}
	for call, err := range every(s, newID(), c) {
		check.True(t, err == nil || errors.Is(err, driver.ErrLost), "%s: %v", call, err)
	}
	_, _, err := s.List(bg, driver.Query{})
	check.NoError(t, err, "List")
	_, _, err = s.History(bg, driver.HistoryQuery{ID: &id})
	check.NoError(t, err, "History")
	_, err = s.Clock(bg)
	check.NoError(t, err, "Clock")
	check.NoError(t, waited(s, id), "Wait, which the beginning of the subscription ends")

	log := redis(t, clientOf(t, server.URL), "ACL", "LOG")
	denied, err := log.ToArray()
	check.NoError(t, err, "ACL LOG")
	check.Equal(t, len(denied), 0, "what was denied to the user: %v", log.String())
}

func waited(s *Store, id driver.ID) error {
	ctx, cancel := context.WithTimeout(bg, 10*time.Second)
	defer cancel()
	return s.Wait(ctx, id)
}

// Each of the last three lines is for one thing. Without it that does not work, and all else does.
func TestRightsThatMayBeMissing(t *testing.T) {
	server := testsvc.Redis(t)
	lines := documentedACL(t)
	url := limited(t, server, lines[:3])
	s := openAt(t, url, &Options{Namespace: "onceward"})
	for call, err := range every(s, newID(), claim()) {
		check.True(t, err == nil || errors.Is(err, driver.ErrLost), "%s by a user with none of them: %v", call, err)
	}
	check.True(t, waited(s, newID()) != nil, "who may not subscribe waits")
	_, err := Open(url, &Options{CacheCompleted: true, Logger: quiet})
	check.ErrorIs(t, err, driver.ErrUnavailable, "CacheCompleted without its rights")
	check.True(t, strings.Contains(err.Error(), "Options.CacheCompleted"), "the error says nothing to do: %v", err)
	_, err = Open(url, &Options{Audit: driver.AuditTransitions, Logger: quiet})
	check.ErrorIs(t, err, errors.ErrUnsupported, "a trail without its rights")
	check.True(t, strings.Contains(err.Error(), "XADD"), "the error does not name what is missing: %v", err)

	limited(t, server, append(lines[:3:3], lines[3]))
	check.NoError(t, waited(openAt(t, url, &Options{Namespace: "onceward"}), newID()), "Wait with its rights")
	limited(t, server, append(lines[:3:3], lines[4]))
	openAt(t, url, &Options{Namespace: "onceward", CacheCompleted: true})
	limited(t, server, append(lines[:3:3], lines[5]))
	openAt(t, url, &Options{Namespace: "onceward", Audit: driver.AuditTransitions})
}

// A step that is refused for want of a right leaves no entry, whichever right it is.
func TestRefusedStepsAreNotTold(t *testing.T) {
	server := testsvc.Redis(t)
	lines := documentedACL(t)
	s := openAt(t, limited(t, server, lines), &Options{Namespace: "onceward", Audit: driver.AuditTransitions})
	for _, right := range []string{"xadd", "pexpire", "persist", "time", "set"} {
		id, c := newID(), claim()
		_, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
		limited(t, server, lines, "-"+right)
		for call, err := range map[string]error{
			"Complete": s.Complete(bg, id, c.Owner, sampled),
			"Resolve":  s.Resolve(bg, id, driver.Resolution{Fence: 1, Force: true}),
		} {
			check.ErrorIs(t, err, driver.ErrUnavailable, "%s without %s", call, right)
			check.True(t, strings.Contains(err.Error(), advice["NOPERM"]), "%s without %s says nothing to do: %v", call, right, err)
		}
		limited(t, server, lines)
		check.Equal(t, len(history(t, s, id)), 1, "entries of a key that was acquired, when %s was missing", right)
	}
}

// Inside of a script Redis says it in other words.
func TestWhatAScriptMayNotDo(t *testing.T) {
	server := testsvc.Redis(t)
	lines := documentedACL(t)
	s := openAt(t, limited(t, server, lines), &Options{Namespace: "onceward"})
	limited(t, server, lines, "-set")
	err := s.Release(bg, newID(), newOwner(), driver.Note{})
	check.ErrorIs(t, err, driver.ErrUnavailable, "Release by who may not SET")
	check.True(t, strings.Contains(err.Error(), advice["NOPERM"]), "the error says nothing to do: %v", err)
}
