package spec

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/proof/report"
)

func TestCompare(t *testing.T) {
	answer := func(sent, heard int64, text string) Reply {
		return Reply{Key: "k", Sent: sent, Heard: heard, Answer: text}
	}
	says := func(sent, heard int64, w Word) Reply { return Reply{Key: "k", Sent: sent, Heard: heard, Word: w} }
	pending, final := answer(1, 2, "a"), says(9, 10, Doubted)
	pending.Pending, final.Final = true, true
	for _, c := range []struct {
		what    string
		replies []Reply
		starts  int
		wrong   int
	}{
		{"nothing", nil, 0, 0},
		{"one answer for all", []Reply{answer(1, 4, "a"), says(2, 3, Busy), answer(5, 6, "a")}, 1, 0},
		{"busy while the answer was on its way", []Reply{answer(1, 4, "a"), says(3, 9, Busy)}, 1, 0},
		{"two answers", []Reply{answer(1, 2, "a"), answer(3, 4, "b")}, 1, 1},
		{"two starts", []Reply{answer(1, 2, "a")}, 2, 1},
		{"busy after an answer", []Reply{answer(1, 2, "a"), says(3, 4, Busy)}, 1, 1},
		{"in doubt after an answer", []Reply{answer(1, 2, "a"), says(3, 4, Doubted)}, 1, 1},
		{"in doubt after one that was not stored yet", []Reply{pending, says(3, 4, Doubted)}, 1, 0},
		{"in doubt at last", []Reply{pending, final}, 1, 1},
		{"in doubt all the time", []Reply{says(1, 2, Doubted), final}, 1, 0},
	} {
		wrong := Compare(c.replies, map[string]int{"k": c.starts}, true)
		check.Equal(t, len(wrong), c.wrong, "%s: %q", c.what, wrong)
	}
}

// load is clients of an engine, behind whose back the network to the store is bad.
type load struct {
	random *rand.Rand
	order  atomic.Int64

	mu      sync.Mutex
	starts  map[string]int
	replies []Reply
}

const keysOfLoad = 4

// The networks of loads.
var (
	bad  = Faults{Refused: 12, Vanished: 4, Unanswered: 6, Late: 3}
	down = Faults{Refused: 45, Unanswered: 2} // half the time
	mute = Faults{Unanswered: 50}
)

// runLoad lets clients ask, and then asks for every key once more when all has come to rest.
func runLoad(seed uint64, f Faults, onCrash driver.OnCrash, open func(driver.Store) asker) []string {
	l := &load{random: rand.New(rand.NewPCG(seed, 0)), starts: map[string]int{}}
	store := memstore.New(nil)
	wire := NewWire(store, f, time.Second, seed)
	engine := open(wire)
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() {
			for range 6 {
				time.Sleep(l.upTo(10 * time.Second))
				l.ask(engine, fmt.Sprintf("key-%d", l.upTo(keysOfLoad)), false)
			}
		})
	}
	clients.Wait()
	engine.close()
	wire.Wait()
	last := open(store)
	for i := range keysOfLoad {
		l.ask(last, fmt.Sprintf("key-%d", i), true)
	}
	last.close()
	wrong := Compare(l.replies, l.starts, onCrash == driver.Hold)
	if f.Late == 0 { // a residue refuses only the last owner of those whose calls are late
		wrong = append(wrong, l.ghosts()...)
	}
	return wrong
}

// ghosts are keys that are taken in the end by somebody who has never run, though nobody has died.
func (l *load) ghosts() (wrong []string) {
	for _, r := range l.replies {
		if r.Final && (r.Word == Busy || r.Word == Doubted) && l.starts[r.Key] == 0 {
			wrong = append(wrong, fmt.Sprintf("%s: it is %v, and was never started", r.Key, r.Word))
		}
	}
	return wrong
}

func (l *load) upTo(d time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.random.Int64N(int64(d)))
}

func (l *load) ask(engine asker, key string, final bool) {
	r := Reply{Key: key, Final: final, Sent: l.order.Add(1)}
	r.Word, r.Answer, r.Pending = engine.ask(context.Background(), key, func() string {
		l.mu.Lock()
		l.starts[key]++
		answer, panics := fmt.Sprintf("answer %d", l.order.Add(1)), l.random.IntN(5) == 0
		l.mu.Unlock()
		time.Sleep(l.upTo(2 * guardLease))
		if panics {
			panic(key)
		}
		return answer
	})
	r.Heard = l.order.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replies = append(l.replies, r)
}

// loads are many on one kind of engine.
type loads struct {
	count   int
	seed    uint64
	faults  Faults
	onCrash driver.OnCrash
}

// run returns how many of the loads show something, and what the first of them shows.
func (l *loads) run(t *testing.T, open func(driver.Store) asker) (shown int, first []string) {
	t.Helper()
	for i := range l.count {
		synctest.Test(t, func(*testing.T) {
			if wrong := runLoad(l.seed+uint64(i), l.faults, l.onCrash, open); len(wrong) > 0 {
				if shown++; first == nil {
					first = wrong
				}
			}
		})
	}
	return shown, first
}

func TestGuardMutants(t *testing.T) {
	for _, m := range []struct {
		flaw    flaw
		faults  Faults
		onCrash driver.OnCrash
	}{
		{AnswersFirst, bad, driver.Hold},
		{ReleasesOnPanic, bad, driver.Hold},
		{BreakerAtComplete, down, driver.Hold},
		{LostAnswers, bad, driver.Rerun},
		{UnsureAnswers, down, driver.Rerun},
		{RunsUnasked, bad, driver.Hold},
		{AnotherOwner, mute, driver.Hold},
		{ForgetsRelease, mute, driver.Hold},
		{ForgetsOutcome, down, driver.Hold},
		{ReleasesUnstored, down, driver.Hold},
	} {
		l := loads{report.Size(60, 2000), seedOf(t), m.faults, m.onCrash}
		shown, first := l.run(t, func(s driver.Store) asker { return &guard{store: s, onCrash: m.onCrash, flaw: m.flaw} })
		report.Linef(t, "%-18s shows in %5.1f %% of %d loads: %v", m.flaw, 100*float64(shown)/float64(l.count), l.count, first)
		check.True(t, shown > 0, "the clients of %s see nothing, seed %d", m.flaw, l.seed)
	}
}

// Neither the small engine without a mistake nor the real one shows anything.
func TestGuards(t *testing.T) {
	for _, faults := range []Faults{bad, down, mute} {
		for _, onCrash := range []driver.OnCrash{driver.Hold, driver.Rerun} {
			l := loads{report.Size(60, 2000), seedOf(t), faults, onCrash}
			shown, first := l.run(t, func(s driver.Store) asker { return &guard{store: s, onCrash: onCrash} })
			check.True(t, shown == 0, "the small engine under %v, %+v, seed %d: %v", onCrash, faults, l.seed, first)
			shown, first = l.run(t, func(s driver.Store) asker { return openEngine(t, s, onCrash) })
			check.True(t, shown == 0, "onceward under %v, %+v, seed %d: %v", onCrash, faults, l.seed, first)
		}
	}
}

// engine is onceward itself.
type engine struct {
	guard *onceward.Guard
	t     testing.TB
}

func openEngine(t testing.TB, store driver.Store, onCrash driver.OnCrash) asker {
	t.Helper()
	g, err := onceward.New(store, &onceward.Options{Policy: onceward.Policy{
		OnCrash: onCrash, MaxAttempts: 1000, Lease: guardLease, Retention: forEver, DoubtRetention: forEver,
	}})
	check.NoError(t, err, "onceward.New")
	return &engine{g, t}
}

func (e *engine) close() {
	check.NoError(e.t, e.guard.Close(context.Background()), "closing the guard")
}

func (e *engine) ask(ctx context.Context, key string, op func() string) (word Word, answer string, pending bool) {
	k := onceward.Key{Scope: "spec", Operation: "ask", Value: key}
	a, err := e.guard.Begin(ctx, k, nil, onceward.Fingerprint{Algorithm: "spec", Sum: "1"})
	if err != nil {
		return wordOf(err), "", false
	}
	if stored, ok := a.Outcome(); ok {
		return Answered, string(stored), false
	}
	defer func() {
		if recover() == nil {
			return
		}
		word = Failed
		if a.OnCrash() == driver.Rerun {
			_ = a.Release("it panicked")
		} else {
			_ = a.Complete([]byte("it panicked: " + key))
		}
	}()
	answer = op()
	err = a.Complete([]byte(answer))
	stored, replayed := a.Outcome()
	switch {
	case err == nil:
		return Answered, answer, false
	case replayed:
		return Answered, string(stored), false
	case errors.Is(err, onceward.ErrUnavailable):
		return Answered, answer, true
	default:
		return wordOf(err), "", false
	}
}

func wordOf(err error) Word {
	switch {
	case errors.Is(err, onceward.ErrInProgress):
		return Busy
	case errors.Is(err, onceward.ErrInDoubt):
		return Doubted
	default:
		return Refused
	}
}
