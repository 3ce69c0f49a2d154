package kills

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward/internal/sleep"
)

// told is what a client remembers of a key.
type told struct {
	answer  string // empty while there was none
	inDoubt bool
}

// herd is clients that send, retry and leave.
type herd struct {
	at []atomic.Pointer[string] // where the workers are, nil while there is none

	mu       sync.Mutex
	doomed   []string // the moments at which workers are still to be told to die
	random   *rand.Rand
	names    []string
	told     map[string]*told
	counters counters
	wrong    []string // what was heard that should not be, in words
}

// counters say what happened, and then what was wrong.
type counters struct {
	Deaths, AtMoment, BetweenEffectAndEnd, Pauses, Restarts        int
	Keys, Acknowledged, Retries, Leaves, Unanswered, Busy, Refused int
	Released, InDoubt                                              int
	Lost, Differing, Twice, Unsettled, Failed                      int
}

func newHerd(seed uint64, workers int) *herd {
	return &herd{
		at:     make([]atomic.Pointer[string], workers),
		random: rand.New(rand.NewPCG(seed, seed)), //nolint:gosec // it is to be repeatable
		told:   map[string]*told{},
	}
}

// request is one that is about to be sent.
type request struct {
	name     string
	answered bool   // its answer was known before
	base     string // of its worker
	die      string
	patience time.Duration
}

// next picks a request: a third of them are retries of keys as old as four hundred others, answered or not. There is none if
// the worker that it picks is dead.
func (h *herd) next() (q request, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	base := h.at[h.random.IntN(len(h.at))].Load()
	if base == nil {
		return request{}, false
	}
	q = request{base: *base, patience: 10 * time.Second}
	if n := len(h.names); n > 0 && h.random.IntN(3) == 0 {
		q.name = h.names[n-1-h.random.IntN(min(n, 400))]
		h.counters.Retries++
	} else {
		q.name = "key-" + strconv.Itoa(n)
		h.names = append(h.names, q.name)
		h.told[q.name] = &told{}
	}
	q.answered = h.told[q.name].answer != ""
	if h.random.IntN(20) == 0 { // it does not wait for the answer
		q.patience = time.Duration(h.random.IntN(3000)) * time.Microsecond
	}
	if n := len(h.doomed); n > 0 && !q.answered {
		q.die, h.doomed = h.doomed[n-1], h.doomed[:n-1]
	}
	return q, true
}

// client sends until ctx ends.
func (h *herd) client(ctx context.Context, via *http.Client) {
	for ctx.Err() == nil {
		q, ok := h.next()
		if !ok {
			sleep.For(ctx, time.Millisecond)
			continue
		}
		within, leave := context.WithTimeout(ctx, q.patience)
		status, body, err := send(within, via, q.base, q.name, q.die)
		left := within.Err() != nil
		leave()
		h.hear(q, status, body, err, left)
		if err != nil || status != http.StatusCreated {
			sleep.For(ctx, 5*time.Millisecond)
		}
	}
}

// hear notes what came of a request.
func (h *herd) hear(q request, status int, body string, err error, left bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c, key := &h.counters, h.told[q.name]
	switch {
	case err != nil && left:
		c.Leaves++
	case err != nil:
		c.Unanswered++
	case status == http.StatusCreated && key.answer != "" && key.answer != body:
		c.Differing++
		h.complain(q, status, body)
	case status == http.StatusCreated:
		key.answer = body
	case status == http.StatusServiceUnavailable:
		c.Refused++
	case q.answered: // somebody was told the answer, and now it is not there
		c.Lost++
		h.complain(q, status, body)
	case strings.HasPrefix(body, "in-progress"):
		c.Busy++
	case strings.HasPrefix(body, "not-now"):
		c.Released++
	case strings.HasPrefix(body, "in-doubt"):
		key.inDoubt = true
	default:
		c.Failed++
		h.complain(q, status, body)
	}
}

// complain keeps the first few answers that should not be. h.mu is held.
func (h *herd) complain(q request, status int, body string) {
	if len(h.wrong) < 10 {
		h.wrong = append(h.wrong, fmt.Sprintf("%s, told before: %q; now: %d %q", q.name, h.told[q.name].answer, status, body))
	}
}

// send returns the status and the body of the answer.
func send(ctx context.Context, via *http.Client, base, name, die string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/"+name, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	req.Header["idempotency-key"] = []string{name} // for a sidecar; not as Go writes it, or Go would send it again by itself
	if die != "" {
		req.Header.Set("Die", die)
	}
	resp, err := via.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	var problem struct {
		Code string `json:"code"`
	}
	if resp.Header.Get("Content-Type") == "application/problem+json" && json.Unmarshal(text, &problem) == nil {
		return resp.StatusCode, problem.Code, err
	}
	return resp.StatusCode, string(bytes.TrimSpace(text)), err
}
