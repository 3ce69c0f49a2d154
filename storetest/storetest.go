// Package storetest states what every store of onceward must do, as a suite that any store can run, and offers [Faulty],
// a store that fails on purpose, for tests of what is built on stores.
//
// A store's own test is one call:
//
//	func TestConformance(t *testing.T) {
//		storetest.Run(t, func(t testing.TB) driver.Store {
//			s := mystore.New()
//			t.Cleanup(s.Close)
//			return s
//		}, nil)
//	}
//
// The suite has nineteen rules, each a subtest, and then compares random histories with a sequential specification. A
// failure prints the promise that is broken and whom that harms, then what was seen.
package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
)

// Options are the settings of [Run]. The zero value fits a store that lives inside the process.
type Options struct {
	// RealTime says that the store blocks on sockets or files, or that another process keeps its time. Without it every
	// rule runs inside a testing/synctest bubble, where hours pass at once. Defaults to false.
	RealTime bool
	// Unit is what the suite's durations are multiples of. In real time most calls must take far less, a twentieth at most;
	// what a slow one spoils is done again, 20 times at most. Defaults to 200 ms in real time and to a minute otherwise.
	Unit time.Duration
	// Parallel checks all rules at the same time, most of which is waiting for leases to end. Open and the other hooks are
	// then called by many goroutines. Only in real time, and not with a Crash that ends what other rules' stores need.
	// Defaults to false.
	Parallel bool

	// Full opens a fresh store that has room for about so many records, for rule 14. It registers its own cleanup on t.
	// Defaults to nil: the rule is reported as not applicable.
	Full func(t testing.TB, records int) driver.Store
	// Crash cuts the power of s and opens what was durable at that moment, for rule 16. Calls that were under way on s
	// may end in any way, but they must end. Defaults to nil: the rule is reported as not applicable.
	Crash func(t testing.TB, s driver.Store) driver.Store
	// Foreign puts data of somebody else beside the store's, and returns what tells whether all of it is still there,
	// for rule 15. Defaults to nil: that part of the rule is reported as not applicable.
	Foreign func(t testing.TB, s driver.Store) (intact func() error)
	// Trail opens a fresh store that keeps an audit trail of the level, whose entries live for so long, for rules 18 and 19.
	// It registers its own cleanup on t. Crash gets such stores too. Defaults to nil: the rules are reported as not
	// applicable.
	Trail func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store

	// Runs is the number of random histories. Defaults to 8 in real time, where they run at the same time, and to 200
	// otherwise.
	Runs int
	// Steps is the length of a history. Defaults to 30 in real time and to 60 otherwise.
	Steps int
	// Seed makes the histories of another run again. Defaults to a random one; failures print it.
	Seed uint64
}

func (o *Options) withDefaults() Options {
	var full Options
	if o != nil {
		full = *o
	}
	unit, runs, steps := time.Minute, 200, 60
	if full.RealTime {
		unit, runs, steps = 200*time.Millisecond, 8, 30
	}
	full.Unit = cmp.Or(full.Unit, unit)
	full.Runs = cmp.Or(full.Runs, runs)
	full.Steps = cmp.Or(full.Steps, steps)
	full.Seed = cmp.Or(full.Seed, rand.Uint64())
	return full
}

// Run checks a store against every rule, each on a store of its own. Open returns a fresh store, or one that is shared
// with others as a database is, and registers its cleanup on t; ids never repeat between rules and runs. A nil o is the
// zero Options.
func Run(t *testing.T, open func(t testing.TB) driver.Store, o *Options) {
	t.Helper()
	opts := o.withDefaults()
	var all sync.WaitGroup
	for _, r := range append(rules[:len(rules):len(rules)], model) {
		check := func() {
			t.Run(r.title(), func(t *testing.T) {
				inTime(t, &opts, func(t *testing.T) { try(t, t, r, open, &opts) }, func(deadlock string) {
					t.Errorf("%s\nseen: %s", r.promise(), deadlock)
				})
			})
		}
		switch {
		case !opts.RealTime || !opts.Parallel:
			check()
		case r.number == model.number: // it has most to say when calls are fast
			all.Wait()
			check()
		default:
			all.Go(check)
		}
	}
	all.Wait()
}

// try runs one rule. Stores belong to tb; what the rule finds goes to rep, which is tb unless somebody collects it.
func try(tb testing.TB, rep reporter, r rule, open func(t testing.TB) driver.Store, o *Options) {
	t := &trial{reporter: rep, rule: r, opts: o, store: open(tb)}
	t.open = func() driver.Store { return open(tb) }
	if o.Full != nil {
		t.full = func(records int) driver.Store { return o.Full(tb, records) }
	}
	if o.Crash != nil {
		t.crash = func(s driver.Store) driver.Store { return o.Crash(tb, s) }
	}
	if o.Trail != nil {
		t.trail = func(level driver.AuditLevel, retain time.Duration) driver.Store { return o.Trail(tb, level, retain) }
	}
	if o.Foreign != nil {
		t.foreign = func(s driver.Store) func() error { return o.Foreign(tb, s) }
	}
	r.check(t)
}

// inTime runs f where the store's time passes. A bubble whose goroutines are stuck panics: stuck gets the reason, so
// that a store which hangs or leaves a goroutine behind fails its rule and not the whole program.
func inTime(t *testing.T, o *Options, f func(t *testing.T), stuck func(reason string)) {
	t.Helper()
	if o.RealTime {
		f(t)
		return
	}
	defer func() {
		if p := recover(); p != nil {
			stuck(fmt.Sprintf("calls that never return, or goroutines left behind by the store (rule 13): %v", p))
		}
	}()
	synctest.Test(t, f)
}
