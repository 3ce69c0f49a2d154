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

// The figures of a run in which something is killed again and again, while clients send orders and retry them.
type figures struct {
	kills, keys, acknowledged, duplicates, disconnects, unanswered, doubts, refused int

	lost      int // acknowledged, and not replayed later
	differing int // answered in two ways
	twice     int // run more than once
	unknown   int // neither run nor refused, at the end
}

// herd sends orders, remembers what it was told, and sends some of them again.
type herd struct {
	at   []atomic.Pointer[life] // the sidecars
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

// move tells the clients where a sidecar is now.
func (h *herd) move(sidecar int, base string) {
	if before := h.at[sidecar].Swap(&life{base, make(chan struct{})}); before != nil {
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
	case got.status == http.StatusCreated && !got.unstored:
		h.told[key] = got.body
		delete(h.tried, key)
	case strings.Contains(got.body, "store-unavailable"):
		h.seen.refused++
	case answered:
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
		at := h.at[rand.IntN(len(h.at))].Load()
		got, err := send(within, at.base, "/orders", key)
		left := within.Err() != nil
		leave()
		h.miss(err, left)
		switch {
		case err == nil:
			h.hear(key, answered, got)
			if got.status == http.StatusServiceUnavailable { // one that came back at once would leave the server no time to start
				rest(ctx, 20*time.Millisecond)
			}
		case !left: // it is dead
			select {
			case <-at.over:
			case <-ctx.Done():
			}
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// acknowledged is how many keys were answered so far.
func (h *herd) acknowledged() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.told)
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
	last  map[string]call // of each key
	early int             // calls that came much sooner than a lease after the one before
	stale int             // calls without a higher fence than the one before
}

type call struct {
	at    time.Time
	fence uint64
}

// note compares a call with the one before. It is for rerun: under hold there is none before.
func (c *counter) note(key string, now call) {
	before, again := c.last[key]
	c.last[key] = now
	// The lease begins when the key is granted, and the first call may have been long on its way. Without the lease the next
	// one would come as soon as the sidecar is there again, after a few tens of milliseconds.
	if again && now.at.Sub(before.at) < lease/2 {
		c.early++
	}
	if again && now.fence <= before.fence {
		c.stale++
	}
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Idempotency-Key")
	fence, _ := strconv.ParseUint(r.Header.Get("Idempotency-Fence"), 10, 64)
	c.mu.Lock()
	c.note(key, call{time.Now(), fence})
	c.calls[key]++
	n := c.calls[key]
	c.mu.Unlock()
	if rand.IntN(4) == 0 { // so that it is killed while the service works
		<-time.After(time.Duration(rand.IntN(5000)) * time.Microsecond)
	}
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, "%s, made %d times", key, n)
}

// world is a service behind sidecars that share a store, and clients who send to any of them.
type world struct {
	*herd

	service  *counter
	shop     *shop
	store    string
	flags    []string
	sidecars []*process
}

const lease = 200 * time.Millisecond

func newWorld(t *testing.T, store string, sidecars int, flags ...string) *world {
	t.Helper()
	w := &world{
		service: &counter{calls: map[string]int{}, last: map[string]call{}},
		store:   store, flags: flags, sidecars: make([]*process, sidecars),
	}
	upstream := httptest.NewServer(w.service)
	t.Cleanup(upstream.Close)
	w.shop = &shop{Server: upstream}
	w.herd = &herd{told: map[string]string{}, tried: map[string]bool{}, at: make([]atomic.Pointer[life], sidecars)}
	for i := range sidecars {
		w.start(t, i)
	}
	return w
}

func (w *world) start(t *testing.T, i int) {
	t.Helper()
	flags := append([]string{"--lease", lease.String(), "--log-level", "error", "--best-effort"}, w.flags...)
	w.sidecars[i] = w.shop.guard(t, w.store, flags...)
	w.move(i, w.sidecars[i].base)
}

// torment calls strike a number of times while clients send, and then asks for all keys once more.
func (w *world) torment(t *testing.T, strikes int, strike func()) figures {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 16 {
		clients.Go(func() { w.client(ctx) })
	}
	for range strikes {
		// The moment is random on purpose: it is what is tested.
		<-time.After(time.Duration(5+rand.IntN(60)) * time.Millisecond)
		strike()
		w.seen.kills++
	}
	stop()
	clients.Wait()
	w.settle(t, w.sidecars[0].base, w.service)
	for _, p := range w.sidecars {
		p.stop(t)
	}
	t.Logf("%+v", w.seen)
	return w.seen
}

// killing kills the sidecars, one at a time, and starts them again.
func killing(t *testing.T, kills int, store string, sidecars int) figures {
	t.Helper()
	w := newWorld(t, store, sidecars)
	return w.torment(t, kills, func() { w.killOne(t) })
}

func (w *world) killOne(t *testing.T) {
	t.Helper()
	i := rand.IntN(len(w.sidecars))
	w.sidecars[i].kill(t)
	w.start(t, i)
}

// keptItsPromise also wants that enough has happened.
func keptItsPromise(t *testing.T, got figures) {
	t.Helper()
	check.Equal(t, [4]int{got.lost, got.differing, got.twice, got.unknown}, [4]int{}, "lost, differing, twice, unknown")
	check.True(t, got.acknowledged > 10*got.kills && got.duplicates > 5*got.kills && got.unanswered > got.kills/4 &&
		got.disconnects > got.kills/4 && got.doubts > got.kills/4, "too little happened for this to mean anything: %+v", got)
}

// settle asks for every key again when nobody runs any more, and compares with what was told and what was done.
func (h *herd) settle(t *testing.T, base string, service *counter) {
	t.Helper()
	h.seen.acknowledged = len(h.told)
	h.seen.keys = int(h.next.Load())
	for key, body := range h.told {
		got := until(t, base, key, http.StatusServiceUnavailable)
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
			got = until(t, base, key, http.StatusServiceUnavailable)
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
	keptItsPromise(t, killing(t, kills(t), filepath.Join(t.TempDir(), "data"), 1))
}

// The same on a store that dies with the process: the test can see what it looks for.
func TestKillsAreSeenWhereNothingIsKept(t *testing.T) {
	got := killing(t, 10, "memory:", 1)
	check.True(t, got.lost > 0 || got.differing > 0, "answers that were lost or differ: %+v", got)
	check.True(t, got.twice > 0, "orders that were made twice: %+v", got)
}

// Under rerun an order whose sidecar died is made again, but not before its lease is over, and with a higher fence.
func TestKilledSidecarsRunAgainUnderRerun(t *testing.T) {
	w := newWorld(t, filepath.Join(t.TempDir(), "data"), 1, "--on-crash", "rerun")
	rerunKeptItsPromise(t, w, w.torment(t, kills(t)/4, func() { w.killOne(t) }))
}

func rerunKeptItsPromise(t *testing.T, w *world, got figures) {
	t.Helper()
	check.Equal(t, [5]int{got.lost, got.differing, got.unknown, w.service.early, w.service.stale}, [5]int{},
		"lost, differing, unknown, much sooner than a lease, without a higher fence")
	check.True(t, got.twice > got.kills/4 && got.acknowledged > 10*got.kills, "too little happened for this to mean anything: %+v", got)
}
