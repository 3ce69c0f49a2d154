// Package waiting is for stores that have to be asked whether a key is still held, because their server does not tell. All
// who wait in a process share one question, which is asked ever more seldom; nobody asks when nobody waits.
package waiting

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/sleep"
)

const (
	firstPause = 25 * time.Millisecond
	lastPause  = 250 * time.Millisecond
	mostAsked  = 1000 // keys of one question; more are several, one after the other
)

// Poller asks for the keys that somebody waits for, and wakes those whose key is not held any more as it was. It is safe for
// concurrent use.
type Poller struct {
	store string
	held  func(ctx context.Context, ids []driver.ID) (map[driver.ID]uint64, error)

	mu      sync.Mutex
	keys    map[driver.ID]map[chan error]uint64 // the fence that each who waits saw first; 0: it has not looked yet
	fresh   bool                                // somebody came since the last question
	stop    context.CancelFunc                  // ends the asking; nil when nobody waits
	closed  error                               // for whoever waits after Close
	running sync.WaitGroup
}

// New returns a poller for the store whose name its errors begin with.
//
// Held is the question: which of the keys does somebody have a lease on, and with what fence. It gets at most 1000 keys, and
// a context that ends when nobody waits any more. One question is asked at a time, besides those whose context has ended.
// An error goes to all who wait for one of its keys.
func New(store string, held func(ctx context.Context, ids []driver.ID) (map[driver.ID]uint64, error)) *Poller {
	return &Poller{store: store, held: held, keys: make(map[driver.ID]map[chan error]uint64)}
}

// Wait is that of [driver.Waiter]: it returns nil when nobody holds the key, or another attempt does than at the first look.
// Its error is the question's, or says that ctx has ended or that the poller is closed.
func (p *Poller) Wait(ctx context.Context, id driver.ID) error {
	woken, err := p.enter(id)
	if err != nil {
		return err
	}
	defer p.leave(id, woken)
	select {
	case err := <-woken:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s: nothing has changed yet: %w", p.store, ctx.Err())
	}
}

func (p *Poller) enter(id driver.ID) (woken chan error, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return nil, p.closed
	}
	woken = make(chan error, 1)
	if p.keys[id] == nil {
		p.keys[id] = make(map[chan error]uint64)
	}
	p.keys[id][woken], p.fresh = 0, true
	if p.stop == nil {
		var ctx context.Context
		ctx, p.stop = context.WithCancel(context.Background())
		p.running.Go(func() { p.ask(ctx) })
	}
	return woken, nil
}

func (p *Poller) leave(id driver.ID, woken chan error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.keys[id], woken)
	if len(p.keys[id]) == 0 {
		delete(p.keys, id)
	}
	if len(p.keys) == 0 {
		p.stop()
		p.stop = nil
	}
}

// ask ends with its context.
func (p *Poller) ask(ctx context.Context) {
	pause := firstPause
	for sleep.For(ctx, spread(pause)) {
		ids, fresh := p.asked()
		for some := range slices.Chunk(ids, mostAsked) {
			held, err := p.held(ctx, some)
			p.tell(ctx, some, held, err)
		}
		if pause = min(2*pause, lastPause); fresh {
			pause = firstPause
		}
	}
}

// spread is the pause, give or take a quarter, so that processes do not ask in step.
func spread(pause time.Duration) time.Duration {
	return pause*3/4 + rand.N(pause/2) //nolint:gosec // whoever guesses it gains nothing
}

func (p *Poller) asked() (ids []driver.ID, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh, p.fresh = p.fresh, false
	for id := range p.keys {
		ids = append(ids, id)
	}
	return ids, fresh
}

// tell wakes those of whose key something was heard, and all who were asked for if the question failed.
func (p *Poller) tell(ctx context.Context, ids []driver.ID, held map[driver.ID]uint64, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ctx.Err() != nil {
		return // who waits now has another who asks
	}
	for _, id := range ids {
		fence := held[id]
		for woken, seen := range p.keys[id] {
			if err == nil && fence != 0 && (seen == 0 || seen == fence) {
				p.keys[id][woken] = fence
				continue
			}
			wake(woken, err)
		}
	}
}

func wake(woken chan error, why error) {
	select {
	case woken <- why:
	default: // it is awake already
	}
}

// Close wakes all who wait, with an error, and returns when the question that was under way is over. It may be called again.
func (p *Poller) Close() {
	p.mu.Lock()
	p.closed = fmt.Errorf("%s: closed", p.store)
	for _, all := range p.keys {
		for woken := range all {
			wake(woken, p.closed)
		}
	}
	p.mu.Unlock()
	p.running.Wait()
}
