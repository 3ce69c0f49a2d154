package spec

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/proof/report"
)

// series is many histories on one store.
type series struct {
	profile   Profile
	rules     Rules
	stores    []driver.Store // which take turns
	histories int
	atOnce    int           // in real time; in a bubble it is one after the other
	patience  time.Duration // with one that is hard to judge; 0 is 20 s
	seed      uint64
	salt      uint64 // keeps its keys apart from those of another series
}

// tally counts what histories met.
type tally struct {
	mu      sync.Mutex
	met     map[string]int
	bad     int
	illegal []string // the files of the first few
	shown   bool     // illegal histories are what is looked for, and not kept
}

// seedOf is that of SPEC_SEED, or a new one.
func seedOf(t testing.TB) uint64 {
	t.Helper()
	text := os.Getenv("SPEC_SEED")
	if text == "" {
		return uint64(rand.Uint32())
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	check.NoError(t, err, "SPEC_SEED")
	return seed
}

// inBubble plays the histories on a store that lives in this process, over a [Wire], where hours pass at once. The store is
// opened there, because it looks at the clock. What was played is judged outside, where time passes for who judges.
func (s series) inBubble(t *testing.T, open func() driver.Store, c *tally) {
	t.Helper()
	const batch = 500
	for from := 0; from < s.histories; from += batch {
		played := make([][]porcupine.Operation, min(batch, s.histories-from))
		synctest.Test(t, func(t *testing.T) {
			store := open()
			for i := range played {
				seed := s.seed + uint64(from+i)
				wire := NewWire(store, s.profile.Faults, time.Duration(s.profile.Way*float64(s.profile.Unit)), seed)
				played[i] = Play(t.Context(), wire, &s.profile, seed, s.salt)
				wire.Wait()
			}
		})
		for i, history := range played {
			c.judge(t, s, s.seed+uint64(from+i), history)
		}
	}
}

// inRealTime plays the histories, most of which is waiting, and goes on until what happens meanwhile, if anything, has
// happened.
func (s series) inRealTime(t *testing.T, c *tally, meanwhile func()) {
	t.Helper()
	var next atomic.Int64
	var happened atomic.Bool
	var players sync.WaitGroup
	ctx := context.WithoutCancel(t.Context())
	for range s.atOnce {
		players.Go(func() {
			for i := int(next.Add(1)) - 1; i < s.histories || !happened.Load(); i = int(next.Add(1)) - 1 {
				seed := s.seed + uint64(i)
				c.judge(t, s, seed, Play(ctx, s.stores[i%len(s.stores)], &s.profile, seed, s.salt))
			}
		})
	}
	defer players.Wait()
	defer happened.Store(true) // also if it fails the test
	if meanwhile != nil {
		meanwhile()
	}
}

// judge counts a history, and keeps one that is illegal. It may be called by any goroutine.
func (c *tally) judge(t *testing.T, s series, seed uint64, history []porcupine.Operation) {
	result := s.rules.Check(history, cmp.Or(s.patience, 20*time.Second))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(history)
	switch result {
	case porcupine.Illegal:
		c.bad++
		if len(c.illegal) < 5 && !c.shown {
			file, err := s.keep(seed, history)
			c.illegal = append(c.illegal, file)
			if err != nil {
				t.Error(err)
			}
		}
	case porcupine.Unknown:
		c.met["undecided"]++
	default:
	}
}

// keep writes an illegal history into a file that outlives the test.
func (s series) keep(seed uint64, history []porcupine.Operation) (string, error) {
	dir, err := os.MkdirTemp("", "onceward-illegal-")
	if err != nil {
		return "", err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d, salt %d, skew %v, profile %+v\n", seed, s.salt, s.rules.Skew, s.profile)
	if err := s.rules.Explain(&text, history); err != nil {
		return "", err
	}
	file := filepath.Join(dir, fmt.Sprintf("%s-%d.txt", s.profile.Name, seed))
	return file, os.WriteFile(file, []byte(text.String()), 0o600)
}

func (c *tally) count(history []porcupine.Operation) {
	if c.met == nil {
		c.met = map[string]int{}
	}
	c.met["histories"]++
	for _, o := range history {
		op, a := o.Input.(*Op), o.Output.(*Answer)
		c.met["calls"]++
		switch {
		case a.Said != Granted:
			c.met[[...]string{Lost: "lost", Unavailable: "unavailable", Unknown: "unknown"}[a.Said]]++
		case op.Verb == Acquire && a.Verdict == driver.Acquired && a.Record.Attempt > 1:
			c.met["taken over"]++
		case op.Verb == Acquire:
			c.met[a.Verdict.String()]++
		case op.Verb == Resolve && op.Force:
			c.met["forced"]++
		default:
			c.met[op.Verb.String()]++
		}
	}
}

// legal fails the test if a history was illegal, and if too little happened for its result to mean anything: of each of
// these things as many as a fortieth of the histories.
func (c *tally) legal(t *testing.T, what string, seed uint64, started time.Time, things ...string) {
	t.Helper()
	took := time.Since(started)
	report.Linef(t, "%s, seed %d: %.0f histories/s, %s", what, seed, float64(c.met["histories"])/took.Seconds(), c)
	if c.bad > 0 {
		table, _ := os.ReadFile(c.illegal[0])
		t.Errorf("%d illegal histories, kept in %s; the first:\n%s", c.bad, strings.Join(c.illegal, ", "), table)
	}
	check.True(t, c.met["undecided"] <= c.met["histories"]/100, "%d histories could not be decided", c.met["undecided"])
	for _, thing := range things {
		check.True(t, c.met[thing] >= max(1, c.met["histories"]/40), "only %d times %q, which proves too little", c.met[thing], thing)
	}
}

// everything is what every series of the general profile meets.
var everything = []string{
	"acquired", "taken over", "running", "in-doubt", "done", "mismatch", "lost",
	"Extend", "Complete", "Release", "Resolve", "forced", "Get",
}

func (c *tally) String() string {
	names := slices.SortedFunc(maps.Keys(c.met), func(a, b string) int { return cmp.Compare(c.met[b], c.met[a]) })
	for i, name := range names {
		names[i] = fmt.Sprintf("%s %d", name, c.met[name])
	}
	return strings.Join(names, " · ")
}
