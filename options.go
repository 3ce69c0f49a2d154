package onceward

import (
	"context"
	"fmt"
	"log/slog"
	"time"
)

// Options are the guard's. Zero fields mean the documented defaults.
type Options struct {
	// Policy is the policy of callers that bring none.
	Policy Policy
	// StoreTimeout bounds each single call of the store. Defaults to 2 s.
	StoreTimeout time.Duration
	// BeginTimeout is how long a Begin asks again when the store does not answer; the last call has its StoreTimeout.
	// Defaults to 5 s.
	BeginTimeout time.Duration
	// CompleteTimeout is how long an ending attempt tries again, after the StoreTimeout of its first call, before the
	// caller gets its answer and the guard goes on trying in the background. Defaults to 5 s.
	CompleteTimeout time.Duration
	// BreakerFailures is how many store calls must fail in a row before the guard stops asking. Defaults to 5.
	BreakerFailures int
	// BreakerPause is how long it does not ask. Defaults to 1 s.
	BreakerPause time.Duration
	// Waiters bounds how many duplicates wait in this process, WaitersPerKey how many wait for one key; more are refused
	// at once. Default to 10 000 and 1 000.
	Waiters, WaitersPerKey int
	// SweepInterval is the pause between two sweeps of a store whose records do not expire by themselves, give or take a
	// tenth. Defaults to 1 min.
	SweepInterval time.Duration
	// SweepBatch is how many records one call removes at most. Defaults to 1 000.
	SweepBatch int
	// Node names this process in records. Defaults to "".
	Node string
	// Identity names rules of yours that shape keys, such as how Scope is found. A guard whose store was used under other
	// rules refuses to start, because the same request would be another key. Defaults to "".
	Identity string
	// AcceptIdentity takes the store over under other rules. Keys made under the old ones are not found any more.
	AcceptIdentity bool
	// Logger is told what Trace is told. Defaults to nil: no log.
	Logger *slog.Logger
	// Trace is told what happens, in the goroutine in which it happens: it must be quick and safe for concurrent use.
	// Defaults to nil.
	Trace func(context.Context, Trace)
}

// filled returns the options with defaults, or says which one is wrong.
func (o *Options) filled() (Options, error) {
	var f Options
	if o != nil {
		f = *o
	}
	f.Policy = f.Policy.over(defaultPolicy())
	fill(&f.StoreTimeout, 2*time.Second)
	fill(&f.BeginTimeout, 5*time.Second)
	fill(&f.CompleteTimeout, 5*time.Second)
	fill(&f.BreakerFailures, 5)
	fill(&f.BreakerPause, time.Second)
	fill(&f.Waiters, 10_000)
	fill(&f.WaitersPerKey, 1_000)
	fill(&f.SweepInterval, time.Minute)
	fill(&f.SweepBatch, 1_000)
	if err := f.Policy.validate(); err != nil {
		return f, err
	}
	if err := positive("Options.",
		field{"StoreTimeout", f.StoreTimeout}, field{"BeginTimeout", f.BeginTimeout},
		field{"CompleteTimeout", f.CompleteTimeout}, field{"BreakerPause", f.BreakerPause},
		field{"SweepInterval", f.SweepInterval}); err != nil {
		return f, err
	}
	for _, n := range [...]struct {
		name  string
		value int
	}{
		{"BreakerFailures", f.BreakerFailures}, {"Waiters", f.Waiters}, {"WaitersPerKey", f.WaitersPerKey},
		{"SweepBatch", f.SweepBatch},
	} {
		if n.value < 0 {
			return f, fmt.Errorf("onceward: Options.%s is %d: it must not be negative", n.name, n.value)
		}
	}
	return f, nil
}
