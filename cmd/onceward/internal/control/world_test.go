package control

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// desk is what a Desk and a Client have in common.
type desk interface {
	List(ctx context.Context, q Query) (Page, error)
	Get(ctx context.Context, id string) (Record, error)
	Resolve(ctx context.Context, r Resolution) (Record, error)
	Sweep(ctx context.Context) (int, error)
	Stats(ctx context.Context) (Stats, error)
	Audit(ctx context.Context, q AuditQuery) (Trail, error)
	Backup(ctx context.Context, target string) error
	Watch(ctx context.Context, tell func(Event) error) error
}

// world is a store, and a desk of it, either in this process or by way of a socket.
type world struct {
	store  driver.Store
	events Events
	desk   desk
}

func eachWay(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("here", func(t *testing.T) {
		w := &world{store: memstore.New(nil)}
		w.desk = NewDesk(w.store, &Options{Trace: w.events.Trace, Events: &w.events})
		test(t, w)
	})
	t.Run("by socket", func(t *testing.T) {
		w := &world{store: memstore.New(nil)}
		w.desk = w.serve(t, t.TempDir())
		test(t, w)
	})
}

func (w *world) serve(t *testing.T, dir string) *Client {
	t.Helper()
	check.NoLeaks(t)
	s, err := Serve(dir, NewDesk(w.store, &Options{Trace: w.events.Trace, Events: &w.events}), slog.New(slog.DiscardHandler))
	check.NoError(t, err, "Serve")
	t.Cleanup(func() { check.NoError(t, s.Close(), "Close") })
	c, err := Dial(t.Context(), dir)
	check.NoError(t, err, "Dial")
	return c
}

const orders = "POST /orders"

func idOf(operation, key string) driver.ID {
	return onceward.Key{Scope: "s", Operation: operation, Value: key}.ID()
}

// begin makes a running key.
func (w *world) begin(t *testing.T, operation, key string) (driver.ID, driver.Owner) {
	t.Helper()
	id, owner := idOf(operation, key), driver.Owner{1}
	sum := sha256.Sum256([]byte(key))
	grant, err := w.store.Acquire(t.Context(), id, driver.Claim{
		Owner: owner, OnCrash: driver.Hold, MaxAttempts: 5, MaxExecution: time.Minute, Lease: 30 * time.Second,
		Retain: time.Hour, DoubtRetain: 24 * time.Hour,
		Labels: driver.Labels{Operation: operation, KeyTag: [8]byte(sum[:8]), KeyHint: "key-…"}, Note: driver.Note{Node: "a"},
	})
	check.NoError(t, err, "Acquire")
	check.Equal(t, grant.Verdict, driver.Acquired, "the verdict for %s %s", operation, key)
	return id, owner
}

// doubt makes a key in doubt.
func (w *world) doubt(t *testing.T, operation, key string) driver.ID {
	t.Helper()
	id, owner := w.begin(t, operation, key)
	note := driver.Note{Reason: "upstream-failed", Node: "a"}
	check.NoError(t, w.store.Extend(t.Context(), id, owner, driver.Extension{Note: note}), "giving up")
	return id
}

// done makes a key that is done.
func (w *world) done(t *testing.T, operation, key string, kind driver.Kind, outcome string) driver.ID {
	t.Helper()
	id, owner := w.begin(t, operation, key)
	check.NoError(t, w.store.Complete(t.Context(), id, owner, driver.Outcome{Kind: kind, Bytes: []byte(outcome)}), "Complete")
	return id
}
