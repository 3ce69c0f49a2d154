package spec

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/diskstore"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/proof/report"
)

var quiet = slog.New(slog.DiscardHandler)

// The memory store gets most of the histories, because they cost least there.
func TestMemory(t *testing.T) {
	seed := seedOf(t)
	for _, p := range Profiles() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			things, histories := []string{"acquired"}, report.Size(60, 60_000)
			if p.Name == "general" {
				things, histories = everything, report.Size(200, 640_000)
			}
			c, started := tally{}, time.Now()
			s := series{profile: p, histories: histories, seed: seed}
			s.inBubble(t, func() driver.Store { return memstore.New(nil) }, &c)
			c.legal(t, p.Name, seed, started, things...)
		})
	}
}

// realTime is the general profile in real time.
func realTime(unit time.Duration) Profile {
	p := General()
	p.Unit = unit
	return p
}

func TestDisk(t *testing.T) {
	t.Parallel() // most of it is waiting
	store := openDisk(t, t.TempDir())
	t.Cleanup(func() { check.NoError(t, store.Close(), "closing it") })
	c, seed, started := tally{}, seedOf(t), time.Now()
	s := series{
		profile: realTime(10 * time.Millisecond), stores: []driver.Store{store}, histories: report.Size(120, 10_000), atOnce: 32, seed: seed,
	}
	s.inRealTime(t, &c, nil)
	c.legal(t, "disk", seed, started, everything...)
}

func openDisk(t testing.TB, dir string) *diskstore.Store {
	t.Helper()
	s, err := diskstore.Open(dir, &diskstore.Options{FreeSpaceFloor: -1, Ballast: -1, Logger: quiet})
	check.NoError(t, err, "opening a store on disk")
	return s
}

// A store on disk is closed and opened again under its callers.
func TestDiskRestarts(t *testing.T) {
	t.Parallel() // as above
	dir, store := t.TempDir(), new(reopened)
	store.now.Store(openDisk(t, dir))
	c, seed, started := tally{}, seedOf(t), time.Now()
	s := series{
		profile: realTime(10 * time.Millisecond), stores: []driver.Store{store}, histories: report.Size(120, 10_000), atOnce: 32, seed: seed,
	}
	s.inRealTime(t, &c, func() {
		for range report.Size(4, 200) {
			time.Sleep(200 * time.Millisecond)
			check.NoError(t, store.now.Load().Close(), "closing a store on disk")
			store.now.Store(openDisk(t, dir))
		}
	})
	check.NoError(t, store.now.Load().Close(), "closing a store on disk")
	c.legal(t, "disk with restarts", seed, started, "acquired", "done", "lost", "taken over")
}

// reopened is a store on disk that is another one from time to time.
type reopened struct {
	now atomic.Pointer[diskstore.Store]
}

func (r *reopened) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	return r.now.Load().Acquire(ctx, id, c)
}

func (r *reopened) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	return r.now.Load().Extend(ctx, id, o, e)
}

func (r *reopened) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return r.now.Load().Complete(ctx, id, o, out)
}

func (r *reopened) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return r.now.Load().Release(ctx, id, o, n)
}

func (r *reopened) Resolve(ctx context.Context, id driver.ID, res driver.Resolution) error {
	return r.now.Load().Resolve(ctx, id, res)
}

func (r *reopened) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	return r.now.Load().Get(ctx, id)
}
