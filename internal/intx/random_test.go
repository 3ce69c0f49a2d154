package intx

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
)

// Many callers, late retries and every fault: the effects of a key are exactly as many as its records, none or one, and
// everybody got the same.
func TestRandomRuns(t *testing.T) {
	var all history
	for seed := range uint64(150) {
		h := randomRun(t, seed, sound)
		check.True(t, len(h.broken) == 0, "seed %d: %s", seed, strings.Join(h.broken, "\n"))
		all.add(h)
	}
	t.Logf("%d runs, %d faults, %d effects, %d acknowledged, %d unavailable", all.runs, all.faults, all.effects, all.acked,
		all.unavailable)
	for name, n := range map[string]int{
		"runs": all.runs, "faults": all.faults, "effects": all.effects, "acknowledged": all.acked, "unavailable": all.unavailable,
	} {
		check.True(t, n > 100, "only %d %s: this proves little", n, name)
	}
}

// The audit sees what an engine does wrong; otherwise it would prove nothing.
func TestTheAuditSeesABrokenEngine(t *testing.T) {
	for name, m := range map[string]mutant{
		"blind": blind, "careless": careless, "deaf": deaf, "hasty": hasty, "leaky": leaky,
	} {
		caught := 0
		for seed := range uint64(60) {
			if h := randomRun(t, seed, m); len(h.broken) > 0 {
				caught++
			}
		}
		check.True(t, caught > 0, "%s: nothing was seen in 60 histories", name)
		t.Logf("%s: seen in %d of 60 histories", name, caught)
	}
}

// history is what happened in a run, and what is wrong with it.
type history struct {
	mu      sync.Mutex
	results map[string]string   // of each key, as the first caller was told
	undone  map[string][]string // results that were said not to be committed

	runs, faults, effects, acked, unavailable int
	broken                                    []string
}

func (h *history) add(o *history) {
	h.runs, h.faults, h.effects = h.runs+o.runs, h.faults+o.faults, h.effects+o.effects
	h.acked, h.unavailable = h.acked+o.acked, h.unavailable+o.unavailable
}

func (h *history) complainf(format string, args ...any) {
	h.broken = append(h.broken, fmt.Sprintf(format, args...))
}

func randomRun(t *testing.T, seed uint64, m mutant) *history {
	t.Helper()
	h := &history{results: map[string]string{}, undone: map[string][]string{}}
	synctest.Test(t, func(t *testing.T) {
		dice := rand.New(rand.NewPCG(seed, 0))
		d := newDatabase(t)
		d.broken = m
		d.commit = func(int) fault { // d.mu is held
			f := []fault{none, none, none, none, none, conflict, aborted, dropped, lost, late}[dice.IntN(10)]
			if f != none {
				h.faults++
			}
			return f
		}
		g, err := onceward.New(d, &onceward.Options{Policy: onceward.Policy{Wait: time.Second}})
		check.NoError(t, err, "guard")
		intx := New(d)
		var callers sync.WaitGroup
		for n := range uint64(6) {
			callers.Go(func() {
				c := &caller{h: h, d: d, g: g, tx: intx, dice: rand.New(rand.NewPCG(seed, n+1))}
				for range 12 {
					c.call()
				}
			})
		}
		callers.Wait()
		time.Sleep(time.Minute) // what is late has arrived
		h.audit(t, d, g)
		check.NoError(t, g.Close(context.Background()), "Close")
	})
	return h
}

// caller is one of those who use few keys at a time, again and again.
type caller struct {
	h    *history
	d    *database
	g    *onceward.Guard
	tx   *Transactions[*tx]
	dice *rand.Rand
}

const keys = 4

func nthKey(n int) onceward.Key {
	return onceward.Key{Scope: "shop", Operation: "charge", Value: fmt.Sprint("order-", n)}
}

func (c *caller) call() {
	time.Sleep(time.Duration(c.dice.IntN(1000)) * time.Millisecond)
	key := nthKey(c.dice.IntN(keys))
	if c.dice.IntN(12) == 0 {
		got, err := onceward.Do(context.Background(), c.g, key, 1, func(context.Context) (string, error) {
			return c.result("ordinary"), nil
		})
		c.note(key, "", got, err)
		return
	}
	mine := ""
	got, err := Do(context.Background(), c.g, c.tx, key, 1, func(_ context.Context, x *tx) (string, error) {
		mine = c.result("tx")
		if err := x.Effect(key.Value); err != nil {
			return "", err
		}
		time.Sleep(time.Duration(c.dice.IntN(300)) * time.Millisecond)
		end := []error{
			nil, nil, nil, nil, nil, nil, errors.New("no stock"), onceward.Final(errors.New("refused")), errConflict,
			context.DeadlineExceeded,
		}
		return mine, end[c.dice.IntN(len(end))]
	})
	c.note(key, mine, got, err)
}

func (c *caller) result(kind string) string {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	c.h.runs++
	return fmt.Sprint(kind, " ", c.h.runs)
}

// note writes down what the caller was told.
func (c *caller) note(key onceward.Key, mine, got string, err error) {
	c.h.mu.Lock()
	defer c.h.mu.Unlock()
	var stored *onceward.StoredError
	switch {
	case errors.As(err, &stored):
		got = "error: " + stored.Message
	case errors.Is(err, onceward.ErrUnavailable):
		c.h.unavailable++
		if errors.Is(err, ErrNotCommitted) {
			c.h.undone[key.Value] = append(c.h.undone[key.Value], mine)
		}
		return
	case err != nil:
		return
	}
	c.h.acked++
	if before, ok := c.h.results[key.Value]; ok && before != got {
		c.h.complainf("%s: one was told %q and another %q", key.Value, before, got)
	}
	c.h.results[key.Value] = got
}

// audit compares what is in the database with itself, and with what callers were told.
func (h *history) audit(t *testing.T, d *database, g *onceward.Guard) {
	t.Helper()
	for n := range keys {
		key := nthKey(n)
		r, err := g.Lookup(context.Background(), key)
		check.NoError(t, err, "Lookup")
		stored := ""
		if r.State() == "done" {
			stored, err = onceward.Do(context.Background(), g, key, 1, func(context.Context) (string, error) {
				return "", errors.New("a key that is done ran again")
			})
			if err != nil {
				stored = "error: " + err.Error()
			}
		} else if r.State() != "absent" {
			h.complainf("%s is left %s", key.Value, r.State())
		}
		want := 0
		if strings.HasPrefix(stored, "tx") {
			want = 1
		}
		got := d.ledger(key.Value)
		h.effects += got
		if got != want {
			h.complainf("%s has %d effects, and the record %q", key.Value, got, stored)
		}
		if told, ok := h.results[key.Value]; ok && told != stored {
			h.complainf("%s: callers were told %q, the record says %q", key.Value, told, stored)
		}
		for _, undone := range h.undone[key.Value] {
			if undone == stored {
				h.complainf("%s: %q was said not to be committed, and is", key.Value, undone)
			}
		}
	}
}
