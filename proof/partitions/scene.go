package partitions

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/sleep"
	"github.com/onceward/onceward/proof/kills"
)

// scene is an owner that is cut off from its store again and again, and a witness that is not.
type scene struct {
	name    string
	mode    kills.Mode
	lease   time.Duration
	network *network
	ledger  *ledger
	owner   *http.Client
	witness *http.Client
	guard   *onceward.Guard                     // the witness's
	effects func() (map[string][]string, error) // what was committed, by key

	keys []*key
}

// key is one that is asked for, and what was heard of it.
type key struct {
	name    string
	cut     *cut
	ran     bool          // its handler ran when the cut came
	held    time.Time     // when somebody else may run it at the earliest
	first   heard         // what the caller was told whose handler that was
	witness time.Duration // after the cut, until it had the answer
	owner   time.Duration // the same

	mu       sync.Mutex
	healed   time.Time
	heard    []heard
	resolved bool
}

// heard is what a caller was told.
type heard struct {
	owner    bool // by it, and not by the witness
	late     bool // it had asked before the cut was healed, and heard of it afterwards
	status   int
	code     string // of a problem
	answer   string
	unstored bool // so far, as it says itself
	err      error
}

// patience is how long a caller waits, and how long a key may take in the end for the run to go on.
const patience = 30 * time.Second

// run makes cuts, one after the other.
func (s *scene) run(ctx context.Context, cuts []cut) (*verdict, error) {
	byPackets := 0
	for i := range cuts {
		if err := s.cut(ctx, &cuts[i]); err != nil {
			return nil, fmt.Errorf("%s, %v: %w", s.name, &cuts[i], err)
		}
		if s.network.byPackets(&cuts[i]) {
			byPackets++
		}
	}
	v, err := s.judge()
	if err == nil {
		v.counts["cuts"], v.counts["cuts by packets"] = len(cuts), byPackets
	}
	return v, err
}

func (s *scene) key(c *cut) *key {
	k := &key{name: fmt.Sprintf("key-%d", len(s.keys)), cut: c}
	s.keys = append(s.keys, k)
	return k
}

// cut lets a handler run, cuts its owner off, lets callers ask both sides for it and for another key, and heals.
func (s *scene) cut(ctx context.Context, c *cut) error {
	running, fresh := s.key(c), s.key(c)
	gate := s.ledger.gate(running.name)
	var all sync.WaitGroup
	defer all.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	defer gate.open()
	all.Go(func() { running.first = s.begin(ctx, running, gate) })
	if err := gate.wait(ctx); err != nil {
		return err
	}
	sleep.For(ctx, c.After)
	if err := s.lookup(ctx, running); err != nil {
		return err
	}
	heal, err := s.network.cut(c)
	if err != nil {
		return err
	}
	isCut, mended := context.WithCancel(ctx)
	defer mended()
	all.Go(func() {
		for isCut.Err() == nil {
			s.ask(ctx, s.owner, running)
			sleep.For(isCut, s.lease/10)
		}
	})
	all.Go(func() { running.witness = s.follow(ctx, s.witness, running) })
	all.Go(func() {
		s.ask(ctx, s.owner, fresh)
		fresh.witness = s.follow(ctx, s.witness, fresh)
	})
	sleep.For(ctx, c.Lasts/2)
	if c.Midway {
		gate.open()
	}
	sleep.For(ctx, c.Lasts-c.Lasts/2)
	running.heal()
	fresh.heal()
	if err := heal(); err != nil {
		return err
	}
	mended()
	gate.open()
	all.Wait()
	for _, k := range []*key{running, fresh} {
		k.owner = s.follow(ctx, s.owner, k)
	}
	return nil
}

// begin asks until the handler runs, because connections may be left that the last cut has spoilt, and returns what its caller is
// told.
func (s *scene) begin(ctx context.Context, k *key, g *gate) heard {
	for {
		h := s.ask(ctx, s.owner, k)
		select {
		case <-g.reached:
			return h
		case <-ctx.Done():
			return h
		case <-time.After(s.lease / 20):
		}
	}
}

// lookup notes how long the lease surely lasts, by the clock of the store.
func (s *scene) lookup(ctx context.Context, k *key) error {
	k.ran = true
	if s.mode == kills.Tx { // nobody else sees the record before it is committed
		return nil
	}
	asked := time.Now()
	record, err := s.guard.Lookup(ctx, k.onceward())
	if err == nil && record.State() != "running" {
		err = fmt.Errorf("%s runs, and its record is %s", k.name, record.State())
	}
	k.held = asked.Add(record.Lease)
	return err
}

// follow asks until there is an answer, and returns how long after the cut that was. An operator who is to decide does so when
// there is a doubt.
func (s *scene) follow(ctx context.Context, via *http.Client, k *key) time.Duration {
	for began := time.Now(); time.Since(began) < patience && ctx.Err() == nil; sleep.For(ctx, s.lease/20) {
		h := s.ask(ctx, via, k)
		if h.status == http.StatusCreated {
			return k.sinceCut()
		}
		if h.code == "in-doubt" && k.cut.Resolve {
			s.resolve(ctx, k)
		}
	}
	return patience
}

// resolve says that it did not happen.
func (s *scene) resolve(ctx context.Context, k *key) {
	record, err := s.guard.Lookup(ctx, k.onceward())
	if err != nil || !record.InDoubt() {
		return
	}
	err = s.guard.Resolve(ctx, k.onceward(), driver.Resolution{Fence: record.Fence, Note: driver.Note{Actor: "operator"}})
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.resolved = true
	}
}

func (k *key) onceward() onceward.Key {
	return onceward.Key{Scope: "single-tenant", Operation: "POST /work", Value: k.name}
}

// heal notes when.
func (k *key) heal() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.healed = time.Now()
}

func (k *key) isHealed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.healed.IsZero()
}

// sinceCut is how long it is over.
func (k *key) sinceCut() time.Duration {
	if !k.isHealed() {
		return 0
	}
	return time.Since(k.healed)
}

// ask asks once, and notes what it hears.
func (s *scene) ask(ctx context.Context, via *http.Client, k *key) heard {
	h := heard{owner: via == s.owner}
	isCut := !k.isHealed()
	h.send(ctx, via, k.name)
	h.late = isCut && k.isHealed()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.heard = append(k.heard, h)
	return h
}

func (h *heard) send(ctx context.Context, via *http.Client, name string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://node/work", http.NoBody)
	if err != nil {
		h.err = err
		return
	}
	req.Header.Set("Idempotency-Key", name)
	resp, err := via.Do(req)
	if err != nil {
		h.err = err
		return
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	h.status, h.err, h.unstored = resp.StatusCode, err, resp.Header.Get("Idempotency-Stored") == "false"
	if h.status == http.StatusCreated {
		h.answer = string(text)
		return
	}
	_, rest, _ := strings.Cut(string(text), `"code":"`)
	h.code, _, _ = strings.Cut(rest, `"`)
}
