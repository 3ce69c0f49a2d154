package storetest

import (
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/onceward/onceward/driver"
)

var model = rule{20, "random histories",
	`Every answer in a random history of calls by a few owners of a few keys, with time passing, must be one that the
sequential specification of the record allows. A mistake that shows only when several rules meet is found here.`,
	randomHistories}

// move is one step of a history. Everything that depends on the store's answers is settled when it is made, so that
// moves can be left out of a failing history.
type move struct {
	verb       Verb
	key, owner int
	mine       bool // made by whoever owns the key, if anybody does
	request    int  // which fingerprint, outcome or claim
	lease      int  // in units; 0 gives it up
	flag       bool
	wrong      bool // names a fence that is not the key's
	pause      int  // what time passes before, see [history.pause]
}

// tooSlow counts the calls that took so long that nobody can say when they happened.
const tooSlow = "too slow to judge"

func randomHistories(t *trial) {
	var counted tally
	var all sync.WaitGroup
	failed := make([]error, t.opts.Runs)
	for run := range t.opts.Runs {
		play := func() {
			moves := randomMoves(rand.New(rand.NewPCG(t.opts.Seed, uint64(run))), t.opts.Steps)
			failed[run] = t.play(moves, &counted)
			if failed[run] != nil && !t.opts.RealTime {
				failed[run] = t.shrink(moves, failed[run])
			}
		}
		if t.opts.RealTime {
			all.Go(play) // most of a history is waiting
		} else {
			play()
		}
	}
	all.Wait()
	for run, err := range failed {
		if err != nil {
			t.fatalf("history %d of seed %d (Options.Seed makes it again) went wrong:\n%v", run, t.opts.Seed, err)
		}
	}
	if slow := counted.met[tooSlow]; slow > t.opts.Runs*t.opts.Steps/2 {
		t.fatalf("%d of %d calls took too long for Options.Unit = %v", slow, t.opts.Runs*t.opts.Steps, t.opts.Unit)
	}
	t.Logf("seed %d, %d histories: %v", t.opts.Seed, t.opts.Runs, counted.met)
	if never := counted.never(); len(never) > 0 && t.opts.Runs*t.opts.Steps >= 10_000 {
		t.fatalf("%d histories of %d steps never met %q: they prove too little", t.opts.Runs, t.opts.Steps, never)
	}
}

func randomMoves(r *rand.Rand, steps int) []move {
	verbs := []Verb{VerbAcquire, VerbAcquire, VerbAcquire, VerbAcquire, VerbAcquire, VerbExtend, VerbExtend,
		VerbComplete, VerbComplete, VerbRelease, VerbRelease, VerbResolve, VerbResolve, VerbGet}
	leases := []int{0, 1, 2, 3, 5}
	moves := make([]move, steps)
	for i := range moves {
		moves[i] = move{
			verb: verbs[r.IntN(len(verbs))], key: r.IntN(2), owner: r.IntN(3), mine: r.IntN(3) > 0, request: r.IntN(8),
			lease: leases[r.IntN(len(leases))], flag: r.IntN(3) == 0, wrong: r.IntN(5) == 0, pause: r.IntN(8),
		}
	}
	return moves
}

// shrink leaves out moves for as long as the history still goes wrong.
func (t *trial) shrink(moves []move, err error) error {
	for size := len(moves) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(moves); {
			fewer := slices.Delete(slices.Clone(moves), at, at+size)
			if again := t.play(fewer, new(tally)); again != nil {
				moves, err = fewer, again
			} else {
				at += size
			}
		}
	}
	return err
}

// tally counts what histories met, because a clean run over nothing proves nothing.
type tally struct {
	mu  sync.Mutex
	met map[string]int
}

func (c *tally) count(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.met == nil {
		c.met = make(map[string]int)
	}
	c.met[what]++
}

// never are the answers that every large run should meet, and this one did not.
func (c *tally) never() (missed []string) {
	all := []string{"doubt", "take-over"}
	for v := driver.Acquired; v <= driver.Lost; v++ {
		all = append(all, "Acquire: "+v.String())
	}
	for _, verb := range []Verb{VerbExtend, VerbComplete, VerbRelease, VerbResolve} {
		all = append(all, verb.String()+": ok", verb.String()+": lost")
	}
	for _, what := range all {
		if c.met[what] == 0 {
			missed = append(missed, what)
		}
	}
	return missed
}
