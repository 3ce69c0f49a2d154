package mysqlstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// load is many callers of few keys, as the engine calls a store: who does not know whether its Acquire was granted asks
// again as the same owner and at last releases, who does not know whether its Complete landed repeats it.
type load struct {
	t     *testing.T
	store driver.Store
	ids   []driver.ID

	mu     sync.Mutex
	runs   map[driver.ID]int    // what an auditor counts
	stored map[driver.ID][]byte // what was acknowledged or replayed first

	unknown, released, replayed, again atomic.Int64
}

func newLoad(t *testing.T, s driver.Store, keys int) *load {
	l := &load{t: t, store: s, runs: make(map[driver.ID]int), stored: make(map[driver.ID][]byte)}
	for range keys {
		l.ids = append(l.ids, newID())
	}
	return l
}

// run calls until the end of ctx, and then ends what it has begun.
func (l *load) run(ctx context.Context, callers int) {
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				l.once(l.ids[rand.IntN(len(l.ids))])
			}
		})
	}
	all.Wait()
}

const tries = 4

func (l *load) once(id driver.ID) {
	c := claim()
	var unknown bool
	for range tries {
		ctx, cancel := context.WithTimeout(bg, 250*time.Millisecond)
		g, err := l.store.Acquire(ctx, id, c)
		cancel()
		switch {
		case err == nil && g.Verdict == driver.Acquired:
			if unknown {
				l.again.Add(1)
			}
			l.execute(id, c.Owner)
			return
		case err == nil:
			if g.Verdict == driver.Done {
				l.replayed.Add(1)
				l.same(id, g.Record.Outcome.Bytes)
			}
			return
		case errors.Is(err, driver.ErrUnavailable) && !unknown:
			time.Sleep(time.Millisecond) // it is down: nobody is helped by asking faster
			return
		default:
			unknown = true
			l.unknown.Add(1)
		}
	}
	l.released.Add(1)
	_ = l.until(func(ctx context.Context) error { return l.store.Release(ctx, id, c.Owner, driver.Note{}) })
}

func (l *load) execute(id driver.ID, o driver.Owner) {
	l.mu.Lock()
	l.runs[id]++
	run := l.runs[id]
	l.mu.Unlock()
	out := driver.Outcome{Kind: driver.Answer, Bytes: fmt.Appendf(nil, "run %d of %s by %x", run, id, o)}
	if err := l.until(func(ctx context.Context) error { return l.store.Complete(ctx, id, o, out) }); err == nil {
		l.same(id, out.Bytes)
	}
}

// until repeats a call that may not be given up, and returns nil or that it was lost.
func (l *load) until(call func(ctx context.Context) error) error {
	for {
		ctx, cancel := context.WithTimeout(bg, 250*time.Millisecond)
		err := call(ctx)
		cancel()
		if err == nil || errors.Is(err, driver.ErrLost) {
			return err
		}
		time.Sleep(time.Millisecond) // as above
	}
}

// same checks that everybody is told the same.
func (l *load) same(id driver.ID, outcome []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if first, ok := l.stored[id]; ok && !bytes.Equal(first, outcome) {
		l.t.Errorf("two outcomes of one key:\n%s\n%s", first, outcome)
	}
	l.stored[id] = outcome
}

// audit looks at all keys: none ran twice, none lost its outcome, none is held by nobody.
func (l *load) audit(s driver.Store) {
	l.t.Helper()
	for _, id := range l.ids {
		r, err := s.Get(bg, id)
		check.NoError(l.t, err, "Get")
		if l.runs[id] > 1 {
			l.t.Errorf("a key ran %d times", l.runs[id])
		}
		if want, ok := l.stored[id]; ok != (r.Phase == driver.PhaseDone) || !bytes.Equal(want, r.Outcome.Bytes) {
			l.t.Errorf("a key is %s with %q, stored was %q", r.State(), r.Outcome.Bytes, want)
		}
		if r.Phase == driver.PhaseRunning {
			l.t.Errorf("a key is held by nobody, for %v more", r.Lease)
		}
	}
	l.t.Logf("%d keys, %d ran; %d unknown, of which %d acquired again; %d released, %d replays",
		len(l.ids), len(l.runs), l.unknown.Load(), l.again.Load(), l.released.Load(), l.replayed.Load())
}

// Requests arrive when their callers have long released what they asked for, and replies do not arrive at all.
func TestLateRequestsAndLostReplies(t *testing.T) {
	server := testsvc.MariaDB(t)
	proxy := testsvc.NewProxy(t, server.Addr)
	store := openThrough(t, proxy, server, openAt(t, server.URL, nil).prefix)
	proxy.Fault(func(c testsvc.Chunk) testsvc.Action {
		switch chance := c.Chance(2); {
		case c.Number < 5: // these open a connection
			return testsvc.Action{}
		case c.Request && chance < 0.05:
			return testsvc.Action{Kind: testsvc.Late, After: time.Duration(chance * float64(10*time.Second)), Hang: chance < 0.005}
		case !c.Request && chance < 0.05:
			return testsvc.Action{Kind: testsvc.DropReply}
		default:
			return testsvc.Action{}
		}
	})
	l := newLoad(t, store, 1000)
	ctx, cancel := context.WithTimeout(bg, 5*time.Second)
	defer cancel()
	l.run(ctx, 32)
	proxy.Fault(nil)
	proxy.Wait(testsvc.Arrived, proxy.Count(testsvc.Late))
	l.audit(openAt(t, server.URL, &Options{Prefix: store.prefix}))
	t.Logf("%d late requests, %d lost replies", proxy.Count(testsvc.Late), proxy.Count(testsvc.DropReply))
	enough := proxy.Count(testsvc.Late) > 15 && proxy.Count(testsvc.DropReply) > 10 && l.again.Load() > 10
	check.True(t, enough, "too few faults to prove anything")
}

// Whoever acquired and was not told asks again and is told, with the same fence.
func TestWinnerWhoseReplyWasLost(t *testing.T) {
	server := testsvc.MariaDB(t)
	proxy := testsvc.NewProxy(t, server.Addr)
	s := openThrough(t, proxy, server, openAt(t, server.URL, nil).prefix)
	id, c := newID(), claim()
	proxy.Fault(func(chunk testsvc.Chunk) testsvc.Action {
		if chunk.Request && bytes.Contains(chunk.Bytes, c.Owner[:]) {
			return testsvc.Action{Kind: testsvc.DropReply}
		}
		return testsvc.Action{}
	})
	_, err := s.Acquire(bg, id, c)
	check.True(t, err != nil && !errors.Is(err, driver.ErrUnavailable), "Acquire whose reply was lost: %v", err)
	proxy.Fault(nil)
	other := claim()
	g, err := s.Acquire(bg, id, other)
	check.NoError(t, err, "Acquire by another caller")
	check.Equal(t, g.Verdict, driver.Running, "another caller")
	g, err = s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire repeated")
	check.Equal(t, g.Verdict, driver.Acquired, "the winner")
	check.Equal(t, g.Record.Fence, 1, "the winner's fence")
}

// MariaDB is killed under load: nothing that was acknowledged is lost.
func TestKilledServer(t *testing.T) {
	const kills = 20
	server := testsvc.MariaDB(t)
	store := openAt(t, server.URL, nil)
	l := newLoad(t, store, 4000)
	ctx, cancel := context.WithCancel(bg)
	var workers sync.WaitGroup
	workers.Go(func() { l.run(ctx, 8) })
	for range kills {
		at := l.progress() + 100
		for l.progress() < at {
			time.Sleep(time.Millisecond)
		}
		server.Kill()
		server.Restart()
	}
	cancel()
	workers.Wait()
	l.audit(store)
	check.True(t, l.unknown.Load() > 0 && l.replayed.Load() > 100, "too little happened to prove anything")
}

func (l *load) progress() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.stored)
}
