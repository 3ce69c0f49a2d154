package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// The figures of a run in which the sidecar is killed again and again, while clients send orders and retry them.
type figures struct {
	kills, keys, acknowledged, duplicates, disconnects, unanswered, doubts int

	lost      int // acknowledged, and not replayed later
	differing int // answered in two ways
	twice     int // run more than once
	unknown   int // neither run nor refused, at the end
}

// herd sends orders, remembers what it was told, and sends some of them again.
type herd struct {
	at   atomic.Pointer[life]
	next atomic.Int64

	mu    sync.Mutex
	told  map[string]string // the answers that arrived, by key
	tried map[string]bool   // keys without an answer
	seen  figures
}

// life is the sidecar between its start and the next one.
type life struct {
	base string
	over chan struct{}
}

// move tells the clients where the sidecar is now.
func (h *herd) move(base string) {
	if before := h.at.Swap(&life{base, make(chan struct{})}); before != nil {
		close(before.over)
	}
}

// pick is a key to send: a new one, one whose answer is known, or one of which nothing is known.
func (h *herd) pick() (key string, answered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := rand.IntN(10)
	if from < 3 {
		for key := range h.told { // in random order, more or less
			h.seen.duplicates++
			return key, true
		}
	}
	if from == 3 {
		for key := range h.tried {
			return key, false
		}
	}
	key = "order-" + strconv.FormatInt(h.next.Add(1), 10)
	h.tried[key] = true
	return key, false
}

// hear notes an answer to a request that was sent when the key was answered already, or not.
func (h *herd) hear(key string, answered bool, got reply) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, known := h.told[key]
	switch {
	case got.status == http.StatusCreated && known && got.body != before:
		h.seen.differing++
	case got.status == http.StatusCreated:
		h.told[key] = got.body
		delete(h.tried, key)
	case answered && !strings.Contains(got.body, "store-unavailable"):
		h.seen.lost++
	}
}

// client sends until ctx ends. Now and then it does not wait for the answer.
func (h *herd) client(ctx context.Context) {
	for ctx.Err() == nil {
		key, answered := h.pick()
		patience := 10 * time.Second
		if rand.IntN(20) == 0 {
			patience = time.Duration(rand.IntN(2000)) * time.Microsecond
		}
		within, leave := context.WithTimeout(ctx, patience)
		at := h.at.Load()
		got, err := send(within, at.base, "/orders", key)
		left := within.Err() != nil
		leave()
		h.miss(err, left)
		switch {
		case err == nil:
			h.hear(key, answered, got)
		case !left: // it is dead
			select {
			case <-at.over:
			case <-ctx.Done():
			}
		}
	}
}

// miss counts a request without an answer.
func (h *herd) miss(err error, left bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil:
	case left:
		h.seen.disconnects++
	default:
		h.seen.unanswered++
	}
}

// counter is a service that counts the orders by their keys.
type counter struct {
	mu    sync.Mutex
	calls map[string]int
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	c.mu.Lock()
	c.calls[key]++
	n := c.calls[key]
	c.mu.Unlock()
	if rand.IntN(4) == 0 { // so that it is killed while the service works
		<-time.After(time.Duration(rand.IntN(5000)) * time.Microsecond)
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "%s, made %d times", key, n)
}

// killing runs clients against a sidecar that is killed a number of times, and then asks for all keys once more.
func killing(t *testing.T, kills int, store string) figures {
	t.Helper()
	service := &counter{calls: map[string]int{}}
	upstream := httptest.NewServer(service)
	t.Cleanup(upstream.Close)
	s := &shop{Server: upstream}
	h := &herd{told: map[string]string{}, tried: map[string]bool{}}
	flags := []string{"--lease", "200ms", "--log-level", "error"}
	p := s.guard(t, store, flags...)
	h.move(p.base)

	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() { h.client(ctx) })
	}
	for range kills {
		// The moment is random on purpose: it is what is tested.
		<-time.After(time.Duration(5+rand.IntN(60)) * time.Millisecond)
		p.kill(t)
		p = s.guard(t, store, flags...)
		h.move(p.base)
		h.seen.kills++
	}
	stop()
	clients.Wait()
	h.settle(t, p.base, service)
	p.stop(t)
	return h.seen
}

// settle asks for every key again when nobody runs any more, and compares with what was told and what was done.
func (h *herd) settle(t *testing.T, base string, service *counter) {
	t.Helper()
	h.seen.acknowledged = len(h.told)
	h.seen.keys = int(h.next.Load())
	for key, body := range h.told {
		got, err := send(t.Context(), base, "/orders", key)
		check.NoError(t, err, "asking for %s", key)
		switch {
		case got.status != http.StatusCreated || !got.replayed:
			h.seen.lost++
		case got.body != body:
			h.seen.differing++
		}
	}
	for key := range h.tried {
		var got reply
		for got.status == 0 || strings.Contains(got.body, `"in-progress"`) { // until its lease is over
			got = until(t, base, key)
		}
		switch {
		case strings.Contains(got.body, `"in-doubt"`):
			h.seen.doubts++
		case got.status != http.StatusCreated:
			h.seen.unknown++
		}
	}
	service.mu.Lock()
	defer service.mu.Unlock()
	for _, n := range service.calls {
		if n > 1 {
			h.seen.twice++
		}
	}
}

// kills is how often the sidecar is killed: a few hundred times, or as often as TEST_KILLS says.
func kills(t *testing.T) int {
	t.Helper()
	text := os.Getenv("TEST_KILLS")
	if text == "" {
		return 300
	}
	n, err := strconv.Atoi(text)
	check.NoError(t, err, "TEST_KILLS")
	return n
}

func TestKilledSidecarKeepsItsPromise(t *testing.T) {
	got := killing(t, kills(t), filepath.Join(t.TempDir(), "data"))
	t.Logf("%+v", got)
	check.Equal(t, [4]int{got.lost, got.differing, got.twice, got.unknown}, [4]int{}, "lost, differing, twice, unknown")
	check.True(t, got.acknowledged > 10*got.kills && got.duplicates > 5*got.kills && got.unanswered > got.kills/4 &&
		got.disconnects > got.kills/4 && got.doubts > got.kills/4, "too little happened for this to mean anything: %+v", got)
}

// The same on a store that dies with the process: the test can see what it looks for.
func TestKillsAreSeenWhereNothingIsKept(t *testing.T) {
	got := killing(t, 10, "memory:")
	t.Logf("%+v", got)
	check.True(t, got.lost > 0 || got.differing > 0, "answers that were lost or differ: %+v", got)
	check.True(t, got.twice > 0, "orders that were made twice: %+v", got)
}
