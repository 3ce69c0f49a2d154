package faults

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/storetest"
)

// Conformance runs storetest while every twentieth chunk that comes back from the server is lost with its connection. Whoever is
// told that an outcome is unknown asks again, as the engine does.
func Conformance(t *testing.T, server *testsvc.Server, open Open, unit time.Duration) {
	t.Helper()
	proxy := testsvc.NewProxy(t, server.Addr)
	proxy.Fault(func(c testsvc.Chunk) testsvc.Action {
		// The first few open the connection.
		if !c.Request && c.Number > 4 && c.Chance(1) < 0.05 {
			return testsvc.Action{Kind: testsvc.DropReply}
		}
		return testsvc.Action{}
	})
	storetest.Run(t, func(t testing.TB) driver.Store {
		namespace := testsvc.Name()
		surely := open.at(t, server.Addr, namespace)
		return insist(t, open.at(t, proxy.Addr, namespace), surely)
	}, &storetest.Options{RealTime: true, Parallel: true, Unit: unit})
	lost := proxy.Count(testsvc.DropReply)
	t.Logf("%d replies were lost", lost)
	check.True(t, lost > 100, "only %d replies were lost, which proves too little", lost)
}

// insist makes a store of one that loses replies, and of the same without faults.
func insist(t testing.TB, store, surely driver.Store) driver.Store {
	t.Helper()
	if strings.Contains(t.Name(), "/13_") {
		// There two calls meet: one that is made again after the other is rightly lost, which the rule cannot know.
		return surely
	}
	return &insistent{Store: store, surely: surely}
}

// insistent asks again when a call failed. A Resolve is lost when it is repeated, and a Release when somebody else has
// acquired since, so they go another way, as do calls of optional interfaces.
type insistent struct {
	driver.Store

	surely driver.Store
}

func (s *insistent) Unwrap() driver.Store { return s.surely }

func (s *insistent) insist(ctx context.Context, call func() error) error {
	err := call()
	for err != nil && !errors.Is(err, driver.ErrLost) && ctx.Err() == nil {
		// What the next try is told, it is not told about the first.
		again := call()
		if again == nil || errors.Is(again, driver.ErrLost) {
			return again
		}
	}
	return err
}

func (s *insistent) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	err = s.insist(ctx, func() error { g, err = s.Store.Acquire(ctx, id, c); return err })
	return g, err
}

func (s *insistent) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	return s.insist(ctx, func() error { return s.Store.Extend(ctx, id, o, e) })
}

func (s *insistent) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return s.insist(ctx, func() error { return s.Store.Complete(ctx, id, o, out) })
}

func (s *insistent) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	return s.surely.Release(ctx, id, o, n)
}

func (s *insistent) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	return s.surely.Resolve(ctx, id, r)
}

func (s *insistent) Get(ctx context.Context, id driver.ID) (r driver.Record, err error) {
	err = s.insist(ctx, func() error { r, err = s.Store.Get(ctx, id); return err })
	return r, err
}
