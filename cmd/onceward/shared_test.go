package main

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// servers are the stores that several sidecars can share.
var servers = map[string]func(t *testing.T) *testsvc.Server{
	"redis":    func(t *testing.T) *testsvc.Server { t.Helper(); return testsvc.Redis(t) },
	"postgres": func(t *testing.T) *testsvc.Server { t.Helper(); return migrated(t, testsvc.Postgres(t)) },
	"mariadb":  func(t *testing.T) *testsvc.Server { t.Helper(); return migrated(t, testsvc.MariaDB(t)) },
}

func migrated(t *testing.T, server *testsvc.Server) *testsvc.Server {
	t.Helper()
	onceward(t, "", "migrate", "up", "--store", server.URL)
	return server
}

func eachServer(t *testing.T, check func(t *testing.T, store *testsvc.Server)) {
	t.Helper()
	for name, start := range servers {
		t.Run(name, func(t *testing.T) { check(t, start(t)) })
	}
}

func TestSidecarsShareKeys(t *testing.T) {
	eachServer(t, func(t *testing.T, store *testsvc.Server) {
		entered, release := make(chan struct{}, 500), make(chan struct{})
		s := newShop(t, entered, release)
		both := []*process{s.guard(t, store.URL), s.guard(t, store.URL)}
		var all sync.WaitGroup
		var first, conflicts atomic.Int64
		for i := range 500 {
			all.Go(func() {
				got, err := send(t.Context(), both[i%2].base, "/orders", "k")
				switch {
				case err != nil:
					t.Errorf("sending: %v", err)
				case got.status == http.StatusConflict:
					if conflicts.Add(1) == 499 {
						close(release)
					}
				case got == reply{status: http.StatusCreated, body: "order 1"}:
					first.Add(1)
				default:
					t.Errorf("an answer: %+v", got)
				}
			})
		}
		all.Wait()
		check.Equal(t, [2]int64{first.Load(), s.calls.Load()}, [2]int64{1, 1}, "first answers, and calls")
		for i, p := range both {
			got, err := send(t.Context(), p.base, "/orders", "k")
			check.NoError(t, err, "a retry")
			check.Equal(t, got, reply{status: http.StatusCreated, body: "order 1", replayed: true}, "the answer of sidecar %d to a retry", i)
			got, err = send(t.Context(), p.base, "/orders?another=1", "k")
			check.NoError(t, err, "another request")
			check.Equal(t, got.status, http.StatusUnprocessableEntity, "status of sidecar %d for another request with the key", i)
		}
		list := onceward(t, "", "keys", "list", "--store", store.URL, "--quiet")
		check.Equal(t, strings.Count(list, "\n"), 1, "keys in %s", list)
	})
}

// One sidecar dies while the service works, and the other one answers.
func TestTheOtherSidecarAnswersForADeadOne(t *testing.T) {
	eachServer(t, func(t *testing.T, store *testsvc.Server) {
		for _, policy := range []string{"hold", "rerun"} {
			entered, release := make(chan struct{}, 2), make(chan struct{})
			s := newShop(t, entered, release)
			dead := s.guard(t, store.URL, "--lease", "1s", "--on-crash", policy)
			alive := s.guard(t, store.URL, "--lease", "1s", "--on-crash", policy)
			go func() { _, _ = send(context.WithoutCancel(t.Context()), dead.base, "/orders", policy) }() // it gets no answer
			<-entered
			before := *s.last.Load()
			dead.kill(t)
			close(release)
			var got reply
			for got.status == 0 || strings.Contains(got.body, `"in-progress"`) {
				got = until(t, alive.base, policy)
			}
			if policy == "hold" {
				check.True(t, strings.Contains(got.body, `"in-doubt"`), "the answer under hold: %+v", got)
				check.Equal(t, s.calls.Load(), int64(1), "calls under hold")
				continue
			}
			check.Equal(t, got, reply{status: http.StatusCreated, body: "order 2"}, "the answer under rerun")
			after := *s.last.Load()
			check.Equal(t, before.Get("Idempotency-Attempt")+" "+after.Get("Idempotency-Attempt"), "1 2", "attempts")
			check.True(t, before.Get("Idempotency-Fence") < after.Get("Idempotency-Fence"), "fences: %s and %s",
				before.Get("Idempotency-Fence"), after.Get("Idempotency-Fence"))
		}
	})
}

func TestKilledSidecarsOnASharedStore(t *testing.T) {
	eachServer(t, func(t *testing.T, store *testsvc.Server) { keptItsPromise(t, killing(t, kills(t), store.URL, 2)) })
}

// The server itself is killed. What it acknowledged is not lost, and while it is down nothing runs.
func TestKilledServerOfTheStore(t *testing.T) {
	eachServer(t, func(t *testing.T, store *testsvc.Server) {
		w := newWorld(t, store.URL, 2)
		got := w.torment(t, 20, func() {
			before := w.acknowledged()
			store.Kill()
			store.Restart()
			for w.acknowledged() < before+10 && t.Context().Err() == nil {
				rest(t.Context(), 10*time.Millisecond)
			}
		})
		check.Equal(t, [4]int{got.lost, got.differing, got.twice, got.unknown}, [4]int{}, "lost, differing, twice, unknown")
		check.True(t, got.acknowledged > 200 && got.duplicates > 100 && got.refused > 20,
			"too little happened for this to mean anything: %+v", got)
	})
}

func TestKilledSidecarsOnASharedStoreRunAgainUnderRerun(t *testing.T) {
	eachServer(t, func(t *testing.T, store *testsvc.Server) {
		w := newWorld(t, store.URL, 2, "--on-crash", "rerun")
		rerunKeptItsPromise(t, w, w.torment(t, kills(t)/4, func() { w.killOne(t) }))
	})
}

// What ran when the server went away is not in doubt: its outcome is stored when the server is back.
func TestWorkOutlivesTheServerOfTheStore(t *testing.T) {
	eachServer(t, func(t *testing.T, store *testsvc.Server) {
		entered, release := make(chan struct{}, 1), make(chan struct{})
		s := newShop(t, entered, release)
		p := s.guard(t, store.URL, "--lease", "1s")
		first := make(chan reply, 1)
		go func() {
			got, _ := send(t.Context(), p.base, "/orders", "k")
			first <- got
		}()
		<-entered
		store.Kill()
		got, err := send(t.Context(), p.base, "/orders", "another")
		check.NoError(t, err, "a request while the server is down")
		check.Equal(t, got.status, http.StatusServiceUnavailable, "status of a request while the server is down")
		check.Equal(t, s.calls.Load(), int64(1), "calls while the server is down")
		close(release)
		check.Equal(t, <-first, reply{status: http.StatusCreated, body: "order 1", unstored: true}, "the answer to what ran")
		store.Restart()
		got = until(t, p.base, "k", http.StatusServiceUnavailable, http.StatusConflict)
		check.Equal(t, got, reply{status: http.StatusCreated, body: "order 1", replayed: true}, "the answer to a retry")
		check.Equal(t, s.calls.Load(), int64(1), "calls")
		p.stop(t)
	})
}

func TestTrailOnASharedStore(t *testing.T) {
	eachServer(t, func(t *testing.T, store *testsvc.Server) {
		s := newShop(t, nil, nil)
		p := s.guard(t, store.URL, "--audit", "transitions")
		_, err := send(t.Context(), p.base, "/orders", "k")
		check.NoError(t, err, "an order")
		id := strings.TrimSpace(onceward(t, "", "keys", "list", "--store", store.URL, "--quiet"))
		onceward(t, "", "keys", "resolve", id, "--store", store.URL, "--release", "--force", "--reason", "it was a test")
		trail := onceward(t, "", "audit", id, "--store", store.URL, "--json")
		at := 0
		for _, step := range []string{`"acquired"`, `"completed"`, `"forced"`, `"it was a test"`} {
			next := strings.Index(trail[at:], step)
			check.True(t, next >= 0, "no %s, or not in this order, in %s", step, trail)
			at += next
		}
		p.stop(t)
	})
}
