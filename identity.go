package onceward

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward/driver"
)

// identityRules says how keys become ids. Whoever changes the rules changes this text, and a node of the old rules and
// one of the new then refuse to share a store instead of running the same request twice.
const identityRules = "id = sha256(uvarint-length-prefixed scope, operation, key); http: operation = method SP path"

var errIdentity = errors.New("the store was used under other identity rules: the same request would be another key and " +
	"run again; give this guard the Options.Identity that the other nodes have, or set Options.AcceptIdentity to leave " +
	"the stored keys behind")

// identity remembers what the store said of the rules.
type identity struct {
	agreed  atomic.Bool
	refused atomic.Bool
	asking  chan struct{} // holds one place: others wait for the answer instead of asking, too
	main    *Guard        // whose store is asked, also for a transaction's
}

func (i *identity) init(g *Guard) { i.main, i.asking = g, make(chan struct{}, 1) }

// checkIdentity compares the rules with those kept in the store, in a record of its own that lives by the plain verbs.
func (c *core) checkIdentity(ctx context.Context) error {
	i := &c.identity
	if i.agreed.Load() {
		return nil
	}
	select {
	case i.asking <- struct{}{}:
		defer func() { <-i.asking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	switch {
	case i.agreed.Load():
		return nil
	case i.refused.Load():
		return errIdentity
	}
	return i.main.askIdentity(ctx)
}

func (g *Guard) askIdentity(ctx context.Context) error {
	if err := g.breaker.allow(); err != nil {
		return err
	}
	call := g.call(ctx, "acquire")
	err := call.end(g.agree(call))
	refused := errors.Is(err, errIdentity)
	if refused {
		g.judge(ctx, nil) // the store did answer
	} else {
		g.judge(ctx, err)
	}
	g.identity.agreed.Store(err == nil)
	g.identity.refused.Store(refused)
	return err
}

func (g *Guard) agree(ctx context.Context) error {
	id := driver.ID(sha256.Sum256([]byte("onceward: the rules by which keys become ids")))
	sum := sha256.Sum256([]byte(identityRules + "\n" + g.opts.Identity))
	const lease, forGood = 10 * time.Second, 10 * 365 * 24 * time.Hour
	claim := driver.Claim{
		Fingerprint: Fingerprint{Algorithm: "identity/1", Sum: string(sum[:])},
		OnCrash:     Rerun, MaxAttempts: 1_000, MaxExecution: lease, Lease: lease, Retain: forGood, DoubtRetain: forGood,
		Labels: driver.Labels{Operation: "onceward.identity"}, Note: driver.Note{Node: g.opts.Node},
	}
	_, _ = rand.Read(claim.Owner[:]) // never fails: crypto/rand ends the program instead
	grant, err := g.store.Acquire(ctx, id, claim)
	if err == nil && grant.Verdict == driver.Mismatch && g.opts.AcceptIdentity {
		note := driver.Note{Reason: "AcceptIdentity", Node: g.opts.Node}
		err = g.store.Resolve(ctx, id, driver.Resolution{Fence: grant.Record.Fence, Force: true, Note: note})
		if err == nil || errors.Is(err, driver.ErrLost) {
			grant, err = g.store.Acquire(ctx, id, claim)
		}
	}
	switch {
	case err != nil:
		return fmt.Errorf("asking for the identity rules: %w", err)
	case grant.Verdict == driver.Mismatch:
		return fmt.Errorf("onceward: %w", errIdentity)
	case grant.Verdict == driver.Acquired:
		return g.store.Complete(ctx, id, claim.Owner, driver.Outcome{Kind: driver.Answer, Bytes: []byte(identityRules)})
	default:
		return nil // the same rules, kept by another node
	}
}
