package onceward

import (
	"errors"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
)

// What happens to a key whose owner died.
const (
	// Hold never runs again what may have happened: the key is in doubt until somebody resolves it.
	Hold = driver.Hold
	// Rerun lets the next caller run it again after the lease. For operations that are safe to repeat.
	Rerun = driver.Rerun
)

// Policy says how an operation is kept. A zero field takes the guard's, and the guard's zero field the default.
type Policy struct {
	// OnCrash says what happens to a key whose owner died. Defaults to Hold.
	OnCrash driver.OnCrash
	// MaxAttempts ends rerunning: after so many attempts that died the key is in doubt. A Release is an end, after which
	// the count starts anew. Defaults to 5.
	MaxAttempts int
	// Lease is how long an attempt holds the key without a sign of life; it shows three in that time. Defaults to 30 s.
	Lease time.Duration
	// MaxExecution is how long an attempt may run. After it the attempt's context is cancelled; under Hold the key is in
	// doubt at once, under Rerun the next caller runs when the lease is over. Defaults to 10 min.
	MaxExecution time.Duration
	// Retention is how long an outcome is kept. A retry that comes later runs anew. Defaults to 24 h.
	Retention time.Duration
	// DoubtRetention is how long a running or in-doubt record is kept after the last sign of life. It must cover
	// MaxExecution and Lease together. Defaults to 30 days.
	DoubtRetention time.Duration
	// Wait is how long a duplicate waits for the running attempt before it is refused. Defaults to 0: no waiting.
	Wait time.Duration
	// FollowCaller cancels the attempt's context when the caller's is cancelled. Defaults to false: a client that leaves
	// does not stop what it asked for, and its retry finds the answer.
	FollowCaller bool
	// FailOpen runs unprotected when the store cannot be asked, or is full. Defaults to false: nothing is run.
	FailOpen bool
}

// over fills p's zero fields from base.
func (p Policy) over(base Policy) Policy {
	fill(&p.OnCrash, base.OnCrash)
	fill(&p.MaxAttempts, base.MaxAttempts)
	fill(&p.Lease, base.Lease)
	fill(&p.MaxExecution, base.MaxExecution)
	fill(&p.Retention, base.Retention)
	fill(&p.DoubtRetention, base.DoubtRetention)
	fill(&p.Wait, base.Wait)
	p.FollowCaller = p.FollowCaller || base.FollowCaller
	p.FailOpen = p.FailOpen || base.FailOpen
	return p
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func defaultPolicy() Policy {
	const day = 24 * time.Hour
	return Policy{
		OnCrash:        Hold,
		MaxAttempts:    5,
		Lease:          30 * time.Second,
		MaxExecution:   10 * time.Minute,
		Retention:      day,
		DoubtRetention: 30 * day,
	}
}

// validate checks a policy without zero fields.
func (p Policy) validate() error {
	if p.OnCrash != Hold && p.OnCrash != Rerun {
		return fmt.Errorf("onceward: Policy.OnCrash is %d: use Hold or Rerun", p.OnCrash)
	}
	if p.MaxAttempts < 0 {
		return fmt.Errorf("onceward: Policy.MaxAttempts is %d: it must be positive", p.MaxAttempts)
	}
	err := positive("Policy.",
		field{"Lease", p.Lease}, field{"MaxExecution", p.MaxExecution}, field{"Retention", p.Retention},
		field{"DoubtRetention", p.DoubtRetention}, field{"Wait", p.Wait})
	if err != nil {
		return err
	}
	if p.Lease < time.Millisecond {
		return fmt.Errorf("onceward: Policy.Lease is %v: stores count milliseconds, so it must be at least 1ms", p.Lease)
	}
	if p.Lease > p.Retention {
		return fmt.Errorf("onceward: Policy.Lease is %v and above Policy.Retention, %v: a retry that waits for the lease would "+
			"find nothing; shorten the lease or lengthen the retention", p.Lease, p.Retention)
	}
	if p.DoubtRetention < p.MaxExecution+p.Lease {
		return fmt.Errorf("onceward: Policy.DoubtRetention is %v and below MaxExecution and Lease together, %v: the record of "+
			"an attempt that the store does not hear of could be gone while it runs; lengthen it", p.DoubtRetention,
			p.MaxExecution+p.Lease)
	}
	return nil
}

type field struct {
	name  string
	value time.Duration
}

func positive(prefix string, fields ...field) error {
	var errs []error
	for _, f := range fields {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("onceward: %s%s is %v: it must not be negative", prefix, f.name, f.value))
		}
	}
	return errors.Join(errs...)
}
