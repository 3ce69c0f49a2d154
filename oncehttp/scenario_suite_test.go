package oncehttp_test

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// scenario is a promise to clients, and how to find out over TCP whether a door keeps it.
type scenario struct {
	name    string
	promise string
	http2   bool // it is also told over HTTP/2
	run     func(x *trial)
}

var scenarios = slices.Concat(
	scenariosOfDuplicates, scenariosOfClients, scenariosOfBodies, scenariosOfHandlers, scenariosOfAnswers,
	scenariosOfStreams, scenariosOfStores, scenariosOfKeys,
)

func TestScenarios(t *testing.T) {
	for _, c := range scenarios {
		for _, http2 := range []bool{false, true} {
			if http2 && !c.http2 {
				continue
			}
			name := c.name
			if http2 {
				name += " over HTTP2"
			}
			t.Run(name, func(t *testing.T) {
				t.Cleanup(func() {
					if t.Failed() {
						t.Logf("the broken promise: %s", c.promise)
					}
				})
				check.NoLeaks(t)
				c.run(&trial{TB: t, door: onceDoor, http2: http2})
			})
		}
	}
	log := onceDoor.log.String()
	check.True(t, strings.Contains(log, `"msg":"acquired"`), "the guard has logged nothing of what it did")
	check.True(t, !strings.Contains(log, canary), "a body, a key or a token is in the guard's log")
}

// trial is one run of a scenario.
type trial struct {
	testing.TB

	door  *door
	http2 bool
	gates []*gate
}

// gate holds a handler until the scenario, or its end, opens it.
type gate struct {
	opened chan struct{}
	once   sync.Once
}

func (x *trial) gate() *gate {
	g := &gate{opened: make(chan struct{})}
	x.gates = append(x.gates, g)
	return g
}

func (g *gate) open() { g.once.Do(func() { close(g.opened) }) }

// wait ends the scenario if the channel is not closed in time.
func (x *trial) wait(c <-chan struct{}, what string) {
	x.Helper()
	select {
	case <-c:
	case <-time.After(x.door.patience):
		x.Fatalf("%s: not in time", what)
	}
}

// tally counts what happens, and lets a scenario wait for it.
type tally struct {
	mu      sync.Mutex
	counts  map[string]int
	changed chan struct{} // closed by the next add
}

func newTally() *tally {
	return &tally{counts: make(map[string]int), changed: make(chan struct{})}
}

func (c *tally) add(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
	close(c.changed)
	c.changed = make(chan struct{})
	return c.counts[what]
}

func (c *tally) read(what string) (int, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts[what], c.changed
}

func (c *tally) count(what string) int {
	n, _ := c.read(what)
	return n
}

// reach waits until something has happened n times.
func (c *tally) reach(x *trial, what string, n int) {
	x.Helper()
	late := time.After(x.door.patience)
	for {
		got, changed := c.read(what)
		if got >= n {
			return
		}
		select {
		case <-changed:
		case <-late:
			x.Fatalf("%q has happened %d times in time, want %d", what, got, n)
		}
	}
}

// journal is a log that can be read while it is written.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}
