package storetest

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
)

// naive is the algorithm that most articles teach, as a store: EXISTS key, then SET lock:key 1 EX 10 NX, work, SET key
// EX 86400, DEL lock:key. It is kept here because it looks right. It passes rule 10; 13, 14, 16, 18 and 19 were not asked.
type naive struct {
	mu   sync.Mutex
	keys map[string]naiveValue
}

type naiveValue struct {
	value   []byte
	expires time.Time
}

const (
	naiveLock   = 10 * time.Second
	naiveResult = 24 * time.Hour
)

func newNaive() *naive { return &naive{keys: make(map[string]naiveValue)} }

// get, set and del are the commands of the key-value server that it talks to.

func (n *naive) get(key string) (naiveValue, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	v, ok := n.keys[key]
	return v, ok && time.Now().Before(v.expires)
}

func (n *naive) set(key string, value []byte, d time.Duration, ifAbsent bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if old, ok := n.keys[key]; ok && ifAbsent && time.Now().Before(old.expires) {
		return false
	}
	n.keys[key] = naiveValue{bytes.Clone(value), time.Now().Add(d)}
	return true
}

func (n *naive) del(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.keys, key)
}

func (n *naive) Acquire(ctx context.Context, id driver.ID, _ driver.Claim) (driver.Grant, error) {
	g := driver.Grant{Verdict: driver.Running}
	if _, ok := n.get(id.String()); ok {
		g.Verdict = driver.Done
	} else if n.set("lock:"+id.String(), []byte("1"), naiveLock, true) {
		g.Verdict = driver.Acquired
	}
	var err error
	g.Record, err = n.Get(ctx, id)
	return g, err
}

func (n *naive) Extend(context.Context, driver.ID, driver.Owner, driver.Extension) error { return nil }

func (n *naive) Complete(_ context.Context, id driver.ID, _ driver.Owner, out driver.Outcome) error {
	if len(out.Bytes) == 0 {
		out.Bytes = []byte("processed") // json.dumps(result) if result else "processed"
	}
	n.set(id.String(), out.Bytes, naiveResult, false)
	n.del("lock:" + id.String())
	return nil
}

func (n *naive) Release(_ context.Context, id driver.ID, _ driver.Owner, _ driver.Note) error {
	n.del("lock:" + id.String())
	return nil
}

func (n *naive) Resolve(_ context.Context, id driver.ID, r driver.Resolution) error {
	n.del("lock:" + id.String())
	n.del(id.String())
	if r.Outcome != nil {
		n.set(id.String(), r.Outcome.Bytes, naiveResult, false)
	}
	return nil
}

func (n *naive) Get(_ context.Context, id driver.ID) (driver.Record, error) {
	r := driver.Record{ID: id}
	if v, ok := n.get(id.String()); ok {
		r.Phase, r.Left = driver.PhaseDone, time.Until(v.expires)
		r.Outcome = driver.Outcome{Kind: driver.Answer, Bytes: bytes.Clone(v.value)}
	} else if v, ok := n.get("lock:" + id.String()); ok {
		r.Phase, r.Lease, r.Left = driver.PhaseRunning, time.Until(v.expires), time.Until(v.expires)
	}
	return r, nil
}

func TestNaive(t *testing.T) {
	fails := map[int]string{
		1:  "the lock ends after 10 s and what any caller stores is taken: two run, and either answers",
		2:  "one clock for the lease and the record, and every duration is a constant",
		3:  "no fence: a sink cannot tell the attempts apart",
		4:  "no fingerprint: another request gets the stored answer",
		5:  "the lock holds a constant: it does not know its owner when a lost reply makes it ask again",
		6:  "SET and DEL are unconditional: a stranger frees the lock and stores an answer",
		7:  "SET is unconditional: a second answer replaces the one that clients have seen",
		8:  "DEL leaves nothing behind: a late request takes the lock for nobody",
		9:  "fingerprints and labels are not kept, and an empty result is stored as another one",
		11: "a step is two commands, and nothing of the request is recorded",
		12: "a call that was cut off leaves a lock that says nothing of its owner",
		15: "what is in doubt cannot be told from what never ran",
		17: "giving up does nothing: callers wait for the lock to end",
		20: "histories go wrong at once",
	}
	none := func(chan struct{}) *Options { return &Options{Runs: 8, Seed: 1} }
	all := brokenRules(t, func(rule, chan struct{}) driver.Store { return newNaive() }, none)
	for number := range model.number + 1 {
		if number == 13 { // its calls take no time, so whether two of them meet is chance
			continue
		}
		found := slices.Clone(all[number])
		if _, want := fails[number]; want != (len(found) > 0) {
			t.Errorf("rule %d: broken %v, want %v: %q", number, len(found) > 0, want, found)
		}
		if len(found) > 0 {
			t.Logf("rule %d: %s\n%s", number, fails[number], found[0])
		}
	}
}
