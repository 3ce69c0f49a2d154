package faults

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
)

// Load is many callers of few keys, as the engine calls a store: who does not know whether its Acquire was granted asks again
// as the same owner, sooner or later gives up, and releases; who does not know whether its Complete landed repeats it. Most
// keys are soon done, and are asked for all the same.
type Load struct {
	store driver.Store
	ids   []driver.ID

	mu     sync.Mutex
	grown  *sync.Cond           // there is one more outcome
	runs   map[driver.ID]int    // what an auditor counts
	stored map[driver.ID][]byte // what was acknowledged or replayed first
	counts Counts
	wrong  []string // what should not be, in words
}

// Counts say how much has happened.
type Counts struct {
	Ran      int // keys
	Unknown  int // Acquires of which nobody knows whether they were granted
	Again    int // of these, owners who asked again and had the key
	Released int // and owners who gave up
	Replayed int // Acquires that were answered with an outcome
}

// NewLoad makes a load for keys that nobody has used.
func NewLoad(s driver.Store, keys int) *Load {
	l := &Load{store: s, runs: make(map[driver.ID]int), stored: make(map[driver.ID][]byte)}
	l.grown = sync.NewCond(&l.mu)
	for range keys {
		l.ids = append(l.ids, newID())
	}
	return l
}

// Run calls until the end of ctx, and then ends what it has begun, however long the store is away. It returns when nothing of
// it is under way.
func (l *Load) Run(ctx context.Context, callers int) {
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				l.once(l.ids[rand.IntN(len(l.ids))]) //nolint:gosec // any key will do
			}
		})
	}
	all.Wait()
}

// patience is how long a caller waits for one call.
const patience = 250 * time.Millisecond

func (l *Load) once(id driver.ID) {
	c := claim()
	for try := range 1 + rand.IntN(4) { //nolint:gosec // whoever gives up at once may release before its Acquire arrives
		var g driver.Grant
		err := inTime(func(ctx context.Context) (err error) { g, err = l.store.Acquire(ctx, id, c); return err })
		switch {
		case err == nil:
			l.told(id, c.Owner, &g, try > 0)
			return
		case errors.Is(err, driver.ErrUnavailable) && try == 0:
			rest()
			return
		default:
			l.count(&l.counts.Unknown)
		}
	}
	l.count(&l.counts.Released)
	_ = until(func(ctx context.Context) error { return l.store.Release(ctx, id, c.Owner, driver.Note{}) }) // or it is another's
}

func (l *Load) told(id driver.ID, o driver.Owner, g *driver.Grant, again bool) {
	switch g.Verdict {
	case driver.Acquired:
		if again {
			l.count(&l.counts.Again)
		}
		l.execute(id, o)
	case driver.Done:
		l.count(&l.counts.Replayed)
		l.same(id, g.Record.Outcome.Bytes)
	case driver.Running, driver.InDoubt:
	default:
		l.complainf("a caller who has not given up is told %v", g.Verdict)
	}
}

func (l *Load) execute(id driver.ID, o driver.Owner) {
	l.mu.Lock()
	l.runs[id]++
	run := l.runs[id]
	l.mu.Unlock()
	out := driver.Outcome{Kind: driver.Answer, Bytes: fmt.Appendf(nil, "run %d of %s by %x", run, id, o)}
	if err := until(func(ctx context.Context) error { return l.store.Complete(ctx, id, o, out) }); err != nil {
		l.complainf("an owner whose key nobody may take cannot complete it: %v", err)
		return
	}
	l.same(id, out.Bytes)
}

// until repeats a call that may not be given up, and returns nil or that it was lost.
func until(call func(ctx context.Context) error) error {
	for {
		if err := inTime(call); err == nil || errors.Is(err, driver.ErrLost) {
			return err
		}
		rest()
	}
}

func inTime(call func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return call(ctx)
}

// rest is for whoever met a server that is down: nobody is helped by asking faster.
func rest() { time.Sleep(time.Millisecond) }

// same notes what somebody is told of a key.
func (l *Load) same(id driver.ID, outcome []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first, known := l.stored[id]
	if !known {
		l.stored[id] = outcome
		l.grown.Broadcast()
	} else if !bytes.Equal(first, outcome) {
		l.wrong = append(l.wrong, fmt.Sprintf("two outcomes of one key:\n%s\n%s", first, outcome))
	}
}

// awaitMore returns when so many more keys have outcomes.
func (l *Load) awaitMore(keys int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for want := len(l.stored) + keys; len(l.stored) < want; {
		l.grown.Wait()
	}
}

func (l *Load) count(n *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*n++
}

func (l *Load) complainf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// Audit looks at all keys when the load has ended, through a store that nothing is wrong with, and fails the test if one ran
// twice, lost its outcome, is held by nobody, or was told of in two ways. The counts are for the test to check that enough
// has happened.
func (l *Load) Audit(t testing.TB, surely driver.Store) Counts {
	t.Helper()
	wrong := l.audit(surely)
	for _, w := range wrong[:min(len(wrong), 10)] {
		t.Error(w)
	}
	l.counts.Ran = len(l.runs)
	t.Logf("%d keys, %d faults found, %+v", len(l.ids), len(wrong), l.counts)
	return l.counts
}

func (l *Load) audit(surely driver.Store) (wrong []string) {
	for _, id := range l.ids {
		r, err := surely.Get(context.Background(), id)
		if err != nil {
			l.complainf("a key cannot be read: %v", err)
			continue
		}
		if l.runs[id] > 1 {
			l.complainf("a key ran %d times", l.runs[id])
		}
		if want := l.stored[id]; !bytes.Equal(want, r.Outcome.Bytes) {
			l.complainf("a key is %s with %q, stored was %q", r.State(), r.Outcome.Bytes, want)
		}
		if r.Phase == driver.PhaseRunning {
			l.complainf("a key is held by nobody, for %v more", r.Lease)
		}
	}
	return l.wrong
}

func newID() (id driver.ID) {
	_, _ = crand.Read(id[:])
	return id
}

// claim is of an owner that nobody has been. Its lease outlasts every fault.
func claim() driver.Claim {
	c := driver.Claim{
		Fingerprint: driver.Fingerprint{Algorithm: "http-bytes/1", Sum: "0123456789abcdef0123456789abcdef"},
		OnCrash:     driver.Hold, MaxAttempts: 1, MaxExecution: 10 * time.Minute,
		Lease: 30 * time.Second, Retain: 24 * time.Hour, DoubtRetain: 30 * 24 * time.Hour,
		Labels: driver.Labels{KeyHint: "ord_…", Operation: "POST /payments", Route: "POST /payments", Host: "api.example.com"},
		Note:   driver.Note{Node: "payments-1"},
	}
	_, _ = crand.Read(c.Owner[:])
	return c
}
