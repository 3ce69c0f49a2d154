package kills

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/diskstore"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/redisstore"
)

// Mode is how a worker uses onceward.
type Mode string

// The modes.
const (
	Hold  Mode = "hold"  // the effect is counted in a file, and the operation starts at most once
	Rerun Mode = "rerun" // the same, and a dead worker's operation is run again after its lease
	Tx    Mode = "tx"    // the effect is a row that is committed with its outcome
	// TwoSteps is the control of Tx: the row is committed by itself, before the outcome, and a dead worker's operation is run
	// again. It has to show duplicates, or nobody would have seen them in Tx.
	TwoSteps Mode = "two-steps"
)

// open opens the store. End waits for outcomes that are not stored yet.
func (c *config) open() (do operation, end func(context.Context) error, err error) {
	if c.Mode == Tx || c.Mode == TwoSteps {
		return c.openSQL()
	}
	store, closeStore, err := c.openStore()
	if err != nil {
		return nil, nil, err
	}
	guard, err := onceward.New(store, c.options())
	if err != nil {
		return nil, nil, err
	}
	return c.counted(guard), ending(guard, closeStore), nil
}

func (c *config) options() *onceward.Options {
	policy := onceward.Policy{Lease: c.Lease}
	if c.Mode == Rerun || c.Mode == TwoSteps {
		policy.OnCrash, policy.MaxAttempts = onceward.Rerun, 1000
	}
	return &onceward.Options{Policy: policy, Logger: slog.New(slog.DiscardHandler)}
}

// ending closes the guard, which may still want its store, and then the store.
func ending(guard *onceward.Guard, closeStore func()) func(context.Context) error {
	return func(ctx context.Context) error {
		defer closeStore()
		return guard.Close(ctx)
	}
}

// openStore opens a store for effects that happen elsewhere.
func (c *config) openStore() (driver.Store, func(), error) {
	log := slog.New(slog.DiscardHandler)
	scheme, _, _ := strings.Cut(c.Store, "://")
	switch {
	case c.Store == "memory:": // the control: it dies with its worker
		return memstore.New(nil), func() {}, nil
	case c.onDisk():
		store, err := diskstore.Open(c.Store, &diskstore.Options{Logger: log})
		return store, func() { _ = store.Close() }, err
	case scheme == "redis":
		store, err := redisstore.Open(c.Store, &redisstore.Options{Logger: log})
		return store, func() { store.Close() }, err
	default:
		return c.openSQLStore()
	}
}

// counted is an operation whose effect is a line in a file.
func (c *config) counted(guard *onceward.Guard) operation {
	return func(ctx context.Context, name string, at func(string)) (string, error) {
		return onceward.Do(ctx, guard, keyOf(name), name, func(context.Context) (string, error) {
			if err := c.hesitate(); err != nil {
				return "", err
			}
			at(beforeEffect)
			answer := answerTo(name)
			err := note(c.Ledger, name)
			at(afterEffect)
			return answer, err
		})
	}
}

var errNotNow = errors.New("not now")

// hesitate is what operations do before their effect: a few take long enough to show a sign of life, and some find that they
// cannot be done now, which releases their keys.
func (c *config) hesitate() error {
	switch n := mathrand.IntN(200); { //nolint:gosec // not a secret
	case n == 0:
		time.Sleep(c.Lease / 2)
	case n < 8:
		return onceward.Retryable(errNotNow)
	}
	return nil
}

// onDisk reports whether the store is the directory of a disk store.
func (c *config) onDisk() bool { return !strings.Contains(c.Store, ":") }

func keyOf(name string) onceward.Key {
	return onceward.Key{Scope: "kills", Operation: "count", Value: name}
}

// answerTo is another one each time, so that a second run shows in what clients are told.
func answerTo(name string) string { return fmt.Sprintf("%s: %s", name, rand.Text()) }
