package partitions

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// entry is an execution.
type entry struct {
	Name  string `json:"name"`
	Node  string `json:"node"`
	Fence uint64 `json:"fence"`

	at   time.Time
	lost bool // it was told that the key is not its own any more, while it ran
}

// ledger is told of every execution, by whoever executes. It is safe for concurrent use.
type ledger struct {
	mu      sync.Mutex
	entries map[string][]*entry
	gates   map[string]*gate
}

// gate holds the first execution of a key until it is opened.
type gate struct {
	reached, opened chan struct{}
	open            func()
}

// wait returns when somebody is there.
func (g *gate) wait(ctx context.Context) error {
	select {
	case <-g.reached:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("no handler runs after %v", patience)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func newLedger() *ledger {
	return &ledger{entries: map[string][]*entry{}, gates: map[string]*gate{}}
}

// gate makes one.
func (l *ledger) gate(name string) *gate {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &gate{reached: make(chan struct{}), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	l.gates[name] = g
	return g
}

// of returns the executions of a key, as they began.
func (l *ledger) of(name string) []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []entry
	for _, e := range l.entries[name] {
		all = append(all, *e)
	}
	return all
}

func (l *ledger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e entry
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.URL.Path == "/lost" {
		l.lost(&e)
		return
	}
	l.started(r.Context(), &e)
}

func (l *ledger) lost(e *entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, known := range l.entries[e.Name] {
		if known.Node == e.Node && known.Fence == e.Fence {
			known.lost = true
		}
	}
}

func (l *ledger) started(ctx context.Context, e *entry) {
	e.at = time.Now()
	l.mu.Lock()
	l.entries[e.Name] = append(l.entries[e.Name], e)
	g := l.gates[e.Name]
	first := len(l.entries[e.Name]) == 1
	l.mu.Unlock()
	if g == nil || !first {
		return
	}
	close(g.reached)
	select {
	case <-g.opened:
	case <-ctx.Done():
	}
}
