package onceward

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward/driver"
)

// rooms is where duplicates wait for a running attempt: one room a key, one poll a room, however many wait in it.
type rooms struct {
	guard *Guard

	busy atomic.Bool // somebody waits: else nobody needs the mutex, which all endings share

	mu      sync.Mutex
	byID    map[driver.ID]*room
	waiting int
}

type room struct {
	waiters int
	leave   context.CancelFunc // ends the poll
	hint    chan struct{}      // the record may have changed
	turn    chan struct{}      // the key may be free: one waiter asks for it
	settled chan struct{}      // closed when record holds how it ended
	record  driver.Record
}

func newRooms(g *Guard) *rooms {
	return &rooms{guard: g, byID: make(map[driver.ID]*room)}
}

// wait blocks until there is something to tell the caller, which it writes to grant, or the caller should ask again. When
// the waiting is over, or there is no room, grant stays as it is. The error is ctx's.
func (r *rooms) wait(ctx context.Context, id driver.ID, until time.Time, grant *driver.Grant) (again bool, err error) {
	in := r.enter(id)
	if in == nil {
		return false, nil
	}
	defer r.exit(id, in)
	r.guard.trace(ctx, Trace{Step: "waiting", ID: id})
	begun := time.Now()
	defer func() { r.guard.trace(ctx, Trace{Step: "waited", ID: id, Took: time.Since(begun)}) }()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-in.settled:
		grant.Record = in.record
		// The bytes belong to whoever gets them, and here several do.
		grant.Record.Outcome.Bytes = append([]byte{}, in.record.Outcome.Bytes...)
		grant.Verdict = driver.InDoubt
		if in.record.Phase == driver.PhaseDone {
			grant.Verdict = driver.Done
		}
	case <-in.turn:
		again = true
	case <-timer.C:
	case <-r.guard.backlog.closing.Done():
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
	return again, nil
}

// enter returns nil when too many wait already.
func (r *rooms) enter(id driver.ID) *room {
	r.mu.Lock()
	defer r.mu.Unlock()
	in := r.byID[id]
	full := in != nil && in.waiters >= r.guard.opts.WaitersPerKey
	if full || r.waiting >= r.guard.opts.Waiters {
		return nil
	}
	if in == nil {
		ctx, leave := context.WithCancel(context.Background())
		in = &room{
			leave: leave,
			hint:  make(chan struct{}, 1), turn: make(chan struct{}, 1), settled: make(chan struct{}),
		}
		r.byID[id] = in
		go r.watch(ctx, id, in)
	}
	in.waiters++
	r.waiting++
	r.busy.Store(true)
	return in
}

func (r *rooms) exit(id driver.ID, in *room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting--
	r.busy.Store(r.waiting > 0)
	in.waiters--
	if in.waiters == 0 {
		in.leave()
		r.drop(id, in)
	}
}

// drop makes place for a new room of the same key; r.mu is held.
func (r *rooms) drop(id driver.ID, in *room) {
	if r.byID[id] == in {
		delete(r.byID, id)
	}
}

// changed hints that the record of a key is another one now.
func (r *rooms) changed(id driver.ID) {
	if !r.busy.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if in := r.byID[id]; in != nil {
		offer(in.hint)
	}
}

// watch polls the record for everyone in the room, ever more slowly, and sooner after a hint.
func (r *rooms) watch(ctx context.Context, id driver.ID, in *room) {
	if store, ok := driver.As[driver.Waiter](r.guard.store); ok {
		go listen(ctx, store, id, in)
	}
	const slowest = time.Second
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, slowest) {
		if !r.look(ctx, id, in) || !nap(ctx, in.hint, jitter(pause)) {
			return
		}
	}
}

// listen turns what the store notices into hints. A store that fails to notice costs time only: the poll goes on.
func listen(ctx context.Context, store driver.Waiter, id driver.ID, in *room) {
	for store.Wait(ctx, id) == nil && ctx.Err() == nil {
		offer(in.hint)
	}
}

// look reads the record once and reports whether to go on.
func (r *rooms) look(ctx context.Context, id driver.ID, in *room) bool {
	record, err := r.guard.get(ctx, id)
	switch {
	case err != nil: // the waiters' deadlines end this, not a store that fails for a moment
		return true
	case record.Phase == driver.PhaseDone || record.InDoubt():
		r.mu.Lock()
		defer r.mu.Unlock()
		in.record = record
		close(in.settled)
		r.drop(id, in)
		return false
	case record.Phase == driver.PhaseAbsent || record.Lease <= 0:
		offer(in.turn)
	default:
		select { // somebody runs again: a turn that nobody took is over
		case <-in.turn:
		default:
		}
	}
	return true
}

// nap reports whether to go on after d or a hint; false means that ctx ended.
func nap(ctx context.Context, hint <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-hint:
	case <-ctx.Done():
		return false
	}
	return true
}

func offer(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
