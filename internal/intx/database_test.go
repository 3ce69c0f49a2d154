package intx

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
)

var (
	errConflict   = errors.New("could not serialize access")
	errConnection = errors.New("connection reset by peer")
	errTxDone     = errors.New("the transaction has ended")
)

// database is an Engine in memory: records, effects, try-locks, and faults on demand.
type database struct {
	t testing.TB
	*memstore.Store

	mu      sync.Mutex
	owners  map[driver.ID]driver.Owner // of what was acquired last
	fences  map[driver.ID]uint64
	taken   map[driver.ID]*work
	effects map[string]int
	open    int // transactions
	most    int // of them, at a time
	begun   int
	commits int

	begin, get func() error // nil: no fault
	commit     func(attempt int) fault
	broken     mutant
}

// fault is what becomes of a COMMIT.
type fault int

const (
	none     fault = iota
	conflict       // rolled back, and said so
	aborted        // the answer was ROLLBACK
	dropped        // the connection broke before COMMIT arrived
	lost           // committed, the reply was lost
	late           // it arrives in a while, the reply is lost
	silent         // it never arrives and the server does not notice that the client is gone
)

// mutant is what an engine does wrong.
type mutant int

const (
	sound    mutant = iota
	blind           // reads the record before it takes the key
	careless        // writes without comparing
	deaf            // takes ROLLBACK for a success
	hasty           // calls an unknown COMMIT rolled back
	leaky           // keeps the effect of what is rolled back
)

func newDatabase(t testing.TB) *database {
	d := &database{
		t: t, Store: memstore.New(nil),
		owners: map[driver.ID]driver.Owner{}, fences: map[driver.ID]uint64{}, taken: map[driver.ID]*work{},
		effects: map[string]int{},
	}
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.open != 0 || len(d.taken) != 0 {
			t.Errorf("%d transactions are left open, %d keys are taken", d.open, len(d.taken))
		}
	})
	return d
}

// Acquire is the ordinary one.
func (d *database) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.acquire(ctx, id, c)
}

func (d *database) acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	g, err := d.Store.Acquire(ctx, id, c)
	if err == nil && g.Verdict == driver.Acquired {
		d.owners[id], d.fences[id] = c.Owner, g.Record.Fence
	}
	return g, err
}

// Resolve notes how the fence grows.
func (d *database) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.Store.Resolve(ctx, id, r)
	if err == nil && r.Force {
		d.fences[id]++
	}
	return err
}

// Get waits for a commit that is being made.
func (d *database) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.get != nil {
		if err := d.get(); err != nil {
			return driver.Record{ID: id}, err
		}
	}
	return d.Store.Get(ctx, id)
}

// Begin implements Engine.
func (d *database) Begin(ctx context.Context, id driver.ID) (Work[*tx], error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.begun++
	if d.begin != nil {
		if err := d.begin(); err != nil {
			return nil, err
		}
	}
	d.open++
	d.most = max(d.most, d.open)
	w := &work{d: d, id: id, open: true}
	w.lent = &tx{w: w}
	if d.taken[id] != nil {
		w.isTaken = d.broken != blind
	} else {
		d.taken[id] = w
	}
	w.seen, w.owner = d.read(id)
	return w, nil
}

func (d *database) read(id driver.ID) (driver.Record, driver.Owner) {
	r, err := d.Store.Get(context.Background(), id)
	if err != nil {
		d.t.Errorf("reading: %v", err)
	}
	r.Fence = d.fences[id]
	return r, d.owners[id]
}

func (d *database) Conflict(err error) bool {
	return errors.Is(err, errConflict)
}

// ledger is how often the effect of a name happened.
func (d *database) ledger(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.effects[name]
}

type work struct {
	d       *database
	id      driver.ID
	lent    *tx
	isTaken bool
	seen    driver.Record
	owner   driver.Owner
	effects []string
	open    bool
	zombie  bool // the client is gone, the server has not noticed
}

// tx is what users work with.
type tx struct{ w *work }

// Effect is a statement.
func (x *tx) Effect(name string) error {
	x.w.d.mu.Lock()
	defer x.w.d.mu.Unlock()
	if !x.w.open {
		return errTxDone
	}
	x.w.effects = append(x.w.effects, name)
	return nil
}

func (w *work) Tx() *tx                 { return w.lent }
func (w *work) Taken() bool             { return w.isTaken }
func (w *work) Seen() driver.Record     { return w.seen }
func (w *work) SeenOwner() driver.Owner { return w.owner }
func (w *work) Kill()                   { w.Rollback() }

func (w *work) Rollback() {
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if w.open && w.d.broken == leaky {
		w.apply()
	}
	w.end()
}

// end gives back what the transaction holds.
func (w *work) end() {
	if !w.open {
		return
	}
	w.open = false
	w.d.open--
	if !w.zombie {
		w.free()
	}
}

func (w *work) free() {
	if w.d.taken[w.id] == w {
		delete(w.d.taken, w.id)
	}
}

func (w *work) apply() {
	for _, name := range w.effects {
		w.d.effects[name]++
	}
}

func (w *work) Commit(_ context.Context, done Done) error {
	d := w.d
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commits++
	defer w.end()
	if !w.open {
		return fmt.Errorf("%w: %w", ErrNotCommitted, errTxDone)
	}
	switch f := d.fault(); f {
	case conflict:
		return fmt.Errorf("%w: %w", ErrNotCommitted, errConflict)
	case aborted:
		if d.broken == deaf {
			return nil
		}
		return fmt.Errorf("%w: COMMIT answered ROLLBACK", ErrNotCommitted)
	case dropped:
		return errConnection
	case lost:
		if err := w.write(&done); err != nil {
			return err
		}
		if d.broken == hasty {
			return fmt.Errorf("%w: %w", ErrNotCommitted, errConnection)
		}
		return errConnection
	case late, silent:
		w.zombie = true
		go w.arrive(&done, f == late)
		return errConnection
	default:
		return w.write(&done)
	}
}

func (d *database) fault() fault {
	if d.commit == nil {
		return none
	}
	return d.commit(d.commits)
}

// arrive is what the server does with a COMMIT that was on its way, or when it notices that none will come.
func (w *work) arrive(done *Done, written bool) {
	time.Sleep(time.Second)
	if !written {
		time.Sleep(time.Hour)
	}
	w.d.mu.Lock()
	defer w.d.mu.Unlock()
	if written {
		_ = w.write(done) // nobody is there to be told
	}
	w.free()
}

// write makes record and effect visible at once: d.mu is held.
func (w *work) write(done *Done) error {
	if w.d.broken == careless || w.d.broken == blind {
		w.apply()
		w.overwrite(done)
		return nil
	}
	now, _ := w.d.read(w.id)
	if now.Phase != w.seen.Phase || now.Fence != w.seen.Fence {
		return fmt.Errorf("%w: %w", ErrNotCommitted, driver.ErrLost)
	}
	ctx := context.Background()
	g, err := w.d.acquire(ctx, w.id, done.Claim)
	if err != nil || g.Verdict != driver.Acquired {
		return errors.Join(ErrNotCommitted, driver.ErrLost, err)
	}
	if g.Record.Fence != done.Fence {
		w.d.t.Errorf("the record has fence %d, the attempt had %d", g.Record.Fence, done.Fence)
	}
	if err := w.d.Complete(ctx, w.id, done.Claim.Owner, done.Outcome); err != nil {
		w.d.t.Errorf("writing the record: %v", err)
	}
	w.apply()
	return nil
}

// overwrite is an UPDATE without a condition.
func (w *work) overwrite(done *Done) {
	ctx := context.Background()
	now, _ := w.d.read(w.id)
	if now.Phase != driver.PhaseAbsent {
		_ = w.d.Store.Resolve(ctx, w.id, driver.Resolution{Fence: now.Fence, Force: true})
	}
	if g, err := w.d.acquire(ctx, w.id, done.Claim); err == nil && g.Verdict == driver.Acquired {
		_ = w.d.Complete(ctx, w.id, done.Claim.Owner, done.Outcome)
	}
}
