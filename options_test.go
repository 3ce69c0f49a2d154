package onceward_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

func TestWrongOptionsAreNamed(t *testing.T) {
	for name, opts := range map[string]onceward.Options{
		"Policy.OnCrash":        {Policy: onceward.Policy{OnCrash: 7}},
		"Policy.MaxAttempts":    {Policy: onceward.Policy{MaxAttempts: -1}},
		"Policy.Lease":          {Policy: onceward.Policy{Lease: -time.Second}},
		"at least 1ms":          {Policy: onceward.Policy{Lease: time.Microsecond}},
		"Policy.MaxExecution":   {Policy: onceward.Policy{MaxExecution: -time.Second}},
		"Policy.Retention":      {Policy: onceward.Policy{Lease: time.Hour, Retention: time.Minute}},
		"Policy.DoubtRetention": {Policy: onceward.Policy{DoubtRetention: 10 * time.Minute}},
		"Policy.Wait":           {Policy: onceward.Policy{Wait: -1}},
		"Options.StoreTimeout":  {StoreTimeout: -1},
		"Options.BeginTimeout":  {BeginTimeout: -1},
		"CompleteTimeout":       {CompleteTimeout: -1},
		"BreakerFailures":       {BreakerFailures: -1},
		"BreakerPause":          {BreakerPause: -1},
		"Options.Waiters":       {Waiters: -1},
		"WaitersPerKey":         {WaitersPerKey: -1},
		"SweepInterval":         {SweepInterval: -1},
		"SweepBatch":            {SweepBatch: -1},
	} {
		_, err := onceward.New(memstore.New(nil), &opts)
		check.True(t, err != nil && strings.Contains(err.Error(), name), "%s: New said %v", name, err)
	}
	_, err := onceward.New(nil, nil)
	check.True(t, err != nil, "New accepted no store")
}

func TestAWrongPolicyRunsNothing(t *testing.T) {
	g := newGuard(t, memstore.New(nil), nil)
	_, err := g.Begin(context.Background(), payment, &onceward.Policy{Lease: 48 * time.Hour}, amount)
	check.True(t, err != nil && strings.Contains(err.Error(), "Policy.Retention"), "Begin said %v", err)
	check.Equal(t, state(t, g), "absent", "state")
}

func TestAPolicyTakesItsZeroFieldsFromTheGuard(t *testing.T) {
	g := newGuard(t, memstore.New(nil), &onceward.Options{Policy: onceward.Policy{OnCrash: onceward.Rerun, Retention: time.Hour}})
	full, err := g.Policy(&onceward.Policy{MaxAttempts: 2})
	check.NoError(t, err, "Policy")
	check.Equal(t, full, onceward.Policy{
		OnCrash: onceward.Rerun, MaxAttempts: 2, Lease: 30 * time.Second, MaxExecution: 10 * time.Minute,
		Retention: time.Hour, DoubtRetention: 30 * 24 * time.Hour,
	}, "policy")
	a := begin(t, g, &onceward.Policy{MaxAttempts: 2})
	check.Equal(t, a.Retention(), time.Hour, "retention")
	record, err := g.Lookup(context.Background(), payment)
	check.NoError(t, err, "Lookup")
	check.Equal(t, record.OnCrash, onceward.Rerun, "crash policy")
	check.Equal(t, record.MaxAttempts, 2, "max attempts")
	check.NoError(t, a.Complete(nil), "Complete")
}

// damaged is a store that cannot read one record, the first it is asked for.
type damaged struct{ driver.Store }

func (damaged) Acquire(context.Context, driver.ID, driver.Claim) (driver.Grant, error) {
	return driver.Grant{}, driver.ErrUndecodable
}

// Otherwise every request would be refused, for a reason that is hard to find.
func TestRulesThatCannotBeReadRefuseToStart(t *testing.T) {
	_, err := onceward.New(damaged{memstore.New(nil)}, nil)
	check.ErrorIs(t, err, driver.ErrUndecodable, "New")
}

func TestAnotherIdentityRefusesToStart(t *testing.T) {
	store := memstore.New(nil)
	newGuard(t, store, nil)
	newGuard(t, store, nil) // the same rules
	other := onceward.Options{Identity: "scope is the header X-Tenant"}
	_, err := onceward.New(store, &other)
	check.True(t, err != nil && strings.Contains(err.Error(), "AcceptIdentity"), "New said %v", err)
	other.AcceptIdentity = true
	g := newGuard(t, store, &other)
	check.NoError(t, begin(t, g, nil).Complete(nil), "Complete under the new rules")
	_, err = onceward.New(store, nil)
	check.True(t, err != nil, "a node of the old rules started after the store was taken over")
}
