package pgstore

import (
	"context"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/pgstore/internal/greedy"
	"github.com/onceward/onceward/storetest"
)

// The suite with each call in company, although most of its calls come one after the other.
func TestConformanceInCompany(t *testing.T) {
	t.Parallel() // as TestConformance
	server := testsvc.Postgres(t, "max_connections = 300")
	open := func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
		return &company{openAt(t, server.URL, &Options{Audit: level, AuditRetention: retain})}
	}
	storetest.Run(t, func(t testing.TB) driver.Store { return open(t, driver.AuditOff, 0) },
		&storetest.Options{RealTime: true, Parallel: true, Unit: unit, Trail: open})
}

// A batch that the server undoes at its end is made again, and what it had found does not count.
func TestWhatABatchHadFoundIsForgotten(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, nil)
	id, c := newID(), claim()
	_, err := s.Acquire(bg, id, claim())
	check.NoError(t, err, "Acquire of somebody else")
	a := &asking{id: id, args: s.acquiring(id, &c), found: true}
	check.NoError(t, s.together(bg, "acquire_many", []*asking{a}), "a batch")
	check.True(t, !a.found, "a key of somebody else was acquired")
}

// company lets calls wait for one that is under way, and others join them.
type company struct{ *Store }

func (s *company) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	call := func() { g, err = s.Store.Acquire(ctx, id, c) }
	first, other := claim(), claim()
	a := &asking{id: newID()}
	if s.crowd.knows(id) {
		inCompany(&s.crowd.reads, a, call, func() { _, _ = s.replay(bg, newID(), &other) })
		return g, err
	}
	a.args = s.acquiring(a.id, &first)
	inCompany(&s.crowd.begins, a, call, func() { _, _ = s.Store.Acquire(bg, newID(), other) })
	return g, err
}

func (s *company) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) (err error) {
	a := &asking{id: newID()}
	a.args = completeArgs(a.id, newOwner(), &sampled)
	inCompany(&s.crowd.completes, a, func() { err = s.Store.Complete(ctx, id, o, out) },
		func() { _ = s.Store.Complete(bg, newID(), newOwner(), sampled) })
	return err
}

// inCompany makes a call while a is under way, or waits as well, and another one comes.
func inCompany(q *greedy.Queue[*asking], a *asking, call, other func()) {
	under, release, over := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		alone, _ := q.Do(bg, a.id, a, func() error {
			close(under)
			<-release
			return nil
		})
		if !alone {
			close(under)
		}
	}()
	<-under
	go other()
	go func() {
		call()
		close(over)
	}()
	for end := time.Now().Add(20 * time.Millisecond); q.Waiting() < 2 && time.Now().Before(end); {
		time.Sleep(50 * time.Microsecond) // who waits does not say so
	}
	close(release)
	<-over
}
