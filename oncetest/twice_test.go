package oncetest_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/oncetest"
)

func TestSoundServicePasses(t *testing.T) {
	check.NoLeaks(t)
	s := newService()
	oncetest.Twice(t, s, payment(), &oncetest.Options{Effects: s.effects})
	oncetest.Twice(t, s, payment(), nil)
	check.Equal(t, s.effects(), 10, "payments")
}

// A service may let duplicates wait for its mutex, or read no body: neither may make Twice wait for what never comes.
func TestSerialServicePasses(t *testing.T) {
	s := newService()
	turn := make(chan struct{}, 1)
	serial := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		turn <- struct{}{}
		defer func() { <-turn }()
		s.ServeHTTP(w, r)
	})
	oncetest.Twice(t, serial, payment(), &oncetest.Options{Effects: s.effects, Timeout: 2 * time.Second})
}

func TestRequestWithoutBodyPasses(t *testing.T) {
	s := newService()
	r := payment()
	r.Body = nil
	oncetest.Twice(t, s, r, &oncetest.Options{Effects: s.effects})
}

func TestKeys(t *testing.T) {
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	front := regexp.MustCompile(`^[0-9a-f]{12}-order 7$`)
	quoted := regexp.MustCompile(`^"[0-9a-f]{12}-order 7"; v=1$`)
	for _, row := range []struct {
		own  string
		want *regexp.Regexp
	}{
		{"", uuid}, {"order 7", front}, {`"order 7"; v=1`, quoted},
	} {
		s := newService()
		r := payment()
		if row.own != "" {
			r.Header.Set("Idempotency-Key", row.own)
		}
		oncetest.Twice(t, s, r, &oncetest.Options{Effects: s.effects})
		check.Equal(t, len(s.seen), 5, "keys: %q", s.seen)
		for _, key := range s.seen {
			check.True(t, row.want.MatchString(key), "key %q of own %q", key, row.own)
		}
		check.Equal(t, r.Header.Get("Idempotency-Key"), row.own, "the caller's request")
	}
}

func TestStaleKeyIsReported(t *testing.T) {
	s := newService()
	failures := failuresOf(s, payment(), &oncetest.Options{NewKey: func() string { return "always" }})
	check.Equal(t, len(failures), 1, "failures of a key that stays: %q", failures)
	check.True(t, strings.Contains(failures[0], "at once: all answers are marked"), "failures: %q", failures)
	failures = failuresOf(s, payment(), &oncetest.Options{NewKey: func() string { return "always" }})
	check.True(t, strings.Contains(failures[0], "the key was used before"), "failures: %q", failures)
}

func TestOptions(t *testing.T) {
	s := newService()
	s.replay = func(w http.ResponseWriter, o outcome) {
		w.Header().Set("X-Request-Id", "another")
		o.writeTo(w)
	}
	mine := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Idempotency-Key", r.Header.Get("Once"))
		w.Header().Set("X-Request-Id", "one")
		s.ServeHTTP(w, r)
	})
	opts := &oncetest.Options{
		Effects: s.effects, UnmarkedReplays: true, IgnoreHeaders: []string{"x-request-id"}, KeyHeader: "once",
	}
	oncetest.Twice(t, mine, payment(), opts)

	for _, change := range []func(*oncetest.Options){
		func(o *oncetest.Options) { o.UnmarkedReplays = false },
		func(o *oncetest.Options) { o.IgnoreHeaders = nil },
		func(o *oncetest.Options) { o.KeyHeader = "" },
	} {
		changed := *opts
		change(&changed)
		check.True(t, len(failuresOf(mine, payment(), &changed)) > 0, "nothing found with %+v", changed)
	}
}

func TestWrongUseIsReported(t *testing.T) {
	s := newService()
	for want, failures := range map[string][]string{
		"no handler":         failuresOf(nil, payment(), nil),
		"no request":         failuresOf(s, nil, nil),
		"Options.Concurrent": failuresOf(s, payment(), &oncetest.Options{Concurrent: 1}),
		"Options.Timeout":    failuresOf(s, payment(), &oncetest.Options{Timeout: -1}),
	} {
		check.Equal(t, len(failures), 1, "failures for %s: %q", want, failures)
		check.True(t, strings.Contains(failures[0], want), "want %q in %q", want, failures)
	}
	check.Equal(t, s.effects(), 0, "payments")
}
