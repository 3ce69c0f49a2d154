//go:build torture

package resources

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/sleep"
)

// crowd is clients who remember what they were told.
type crowd struct {
	base string
	via  *http.Client
	body string // of each request

	mu    sync.Mutex
	told  map[string][sha256.Size]byte // the digest of each key's answer; the empty one's while there is none
	seen  counters
	wrong []string // what was heard that should not be, in words
	last  string   // why somebody was refused last
}

// counters say what clients were told, and then what was wrong.
type counters struct {
	Sent, Answered, Replayed, Busy, Refused, Unanswered, Left int
	Doubts, Unstored                                          int
	Lost, Differing, Twice, Failed                            int
}

func crowdAt(t *testing.T, base string) *crowd {
	t.Helper()
	c := &crowd{
		base: base, body: `{"tea":1}`, told: map[string][sha256.Size]byte{},
		via: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}},
	}
	t.Cleanup(c.via.CloseIdleConnections)
	return c
}

// ask sends a request once, and reports whether that was the end of it: there is an answer, or a doubt.
func (c *crowd) ask(ctx context.Context, key string) bool {
	c.mu.Lock()
	before, sent := c.told[key]
	c.told[key] = before
	c.seen.Sent++
	c.mu.Unlock()
	answered := sent && before != [sha256.Size]byte{}

	response, text, err := c.send(ctx, key) //nolint:bodyclose // send has read and closed it

	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hear(ctx, key, answered, response, text, err)
}

// insist asks until there is an end.
func (c *crowd) insist(ctx context.Context, key string, patience time.Duration) {
	for ctx.Err() == nil {
		within, leave := context.WithTimeout(ctx, patience)
		answered := c.ask(within, key)
		leave()
		if answered {
			return
		}
		sleep.For(ctx, 20*time.Millisecond)
	}
}

func (c *crowd) send(ctx context.Context, key string) (*http.Response, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/orders", strings.NewReader(c.body))
	if err != nil {
		return nil, nil, err
	}
	r.Header["idempotency-key"] = []string{key} // so that no client of ours sends it again by itself
	response, err := c.via.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response, text, err
}

// hear notes an answer to a request that was sent when the key was answered already, or not. c.mu is held.
func (c *crowd) hear(ctx context.Context, key string, answered bool, r *http.Response, text []byte, err error) bool {
	n, digest := &c.seen, sha256.Sum256(text)
	switch {
	case err != nil && ctx.Err() != nil:
		n.Left++
	case err != nil:
		n.Unanswered++
	case r.StatusCode == http.StatusCreated:
		c.created(key, digest, r.Header)
		return true
	case r.StatusCode == http.StatusServiceUnavailable:
		n.Refused++
		c.last = string(text)
	case answered:
		n.Lost++
		c.complain(key, r.StatusCode, text)
	case strings.Contains(string(text), `"in-progress"`):
		n.Busy++
	case strings.Contains(string(text), `"in-doubt"`):
		n.Doubts++
		return true
	default:
		n.Failed++
		c.complain(key, r.StatusCode, text)
	}
	return false
}

func (c *crowd) created(key string, digest [sha256.Size]byte, header http.Header) {
	c.seen.Answered++
	if header.Get("Idempotent-Replayed") == "true" {
		c.seen.Replayed++
	}
	if header.Get("Idempotency-Stored") == "false" { // nobody is promised this answer again
		c.seen.Unstored++
		return
	}
	if before := c.told[key]; before != digest && before != [sha256.Size]byte{} {
		c.seen.Differing++
	}
	c.told[key] = digest
}

func (c *crowd) complain(key string, status int, text []byte) {
	if len(c.wrong) < 5 {
		c.wrong = append(c.wrong, fmt.Sprintf("%s: %d %.300q", key, status, text))
	}
}

// keys are all that were sent.
func (c *crowd) keys() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []string
	for key := range c.told {
		all = append(all, key)
	}
	return all
}

// knows reports whether a key was answered.
func (c *crowd) knows(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.told[key] != [sha256.Size]byte{}
}

func (c *crowd) counters() counters {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seen
}

// settle asks for every key until there is an end, and compares what was told with what was done.
func (c *crowd) settle(t *testing.T, s *service) counters {
	t.Helper()
	keys := c.keys()
	within, stop := context.WithTimeout(t.Context(), time.Minute+time.Duration(len(keys))*10*time.Millisecond)
	defer stop()
	each(8, keys, func(key string) { c.insist(within, key, 10*time.Second) })
	check.NoError(t, within.Err(), "asking for %d keys again, after %+v, wrong: %q, the last problem: %s",
		len(keys), c.counters(), c.wrong, c.last)
	got := c.counters()
	got.Twice = s.twice()
	return got
}

// keptItsPromise fails the test if a request ran twice, or an answer was lost or became another one.
func keptItsPromise(t *testing.T, c *crowd, got counters) {
	t.Helper()
	check.Equal(t, [4]int{got.Twice, got.Lost, got.Differing, got.Failed}, [4]int{}, "twice, lost, differing, failed, and so: %q", c.wrong)
}

// each has a number of clients do something for each key.
func each(clients int, keys []string, do func(key string)) {
	next := make(chan string)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for key := range next {
				do(key)
			}
		})
	}
	for _, key := range keys {
		next <- key
	}
	close(next)
	all.Wait()
}

// numbered are new keys.
func numbered(prefix string, n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return keys
}

// Without anything in front of the service, duplicates run twice and are answered differently, and the crowd sees it.
func TestCrowdSeesWhatIsLookedFor(t *testing.T) {
	s := serviceOf(t, 100)
	c := crowdAt(t, s.URL)
	each(8, numbered("key", 50), func(key string) { c.insist(t.Context(), key, time.Minute) })
	got := c.settle(t, s)
	check.Equal(t, [2]int{got.Twice, got.Differing}, [2]int{50, 50}, "twice, differing: %+v", got)
}
