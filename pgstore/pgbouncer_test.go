package pgstore

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/faults"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/storetest"
)

// Each transaction may get another connection.
func TestConformanceThroughPgBouncer(t *testing.T) {
	t.Parallel() // as TestConformance
	server := testsvc.Postgres(t)
	front := testsvc.PgBouncer(t, server)
	url := front.URL + "&default_query_exec_mode=cache_describe"
	open := func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
		return openAt(t, url, &Options{Audit: level, AuditRetention: retain})
	}
	storetest.Run(t, func(t testing.TB) driver.Store { return open(t, driver.AuditOff, 0) },
		&storetest.Options{RealTime: true, Parallel: true, Unit: unit, Trail: open})
}

// The other mode that works, and transactions of users.
func TestLoadThroughPgBouncer(t *testing.T) {
	front := testsvc.PgBouncer(t, testsvc.Postgres(t))
	s := openShop(t, front.URL+"&default_query_exec_mode=exec&pool_max_conns=20")
	l := faults.NewLoad(s.Store, 500)
	ctx, cancel := context.WithTimeout(bg, 2*time.Second)
	defer cancel()
	l.Run(ctx, 32)
	got := l.Audit(t, s.Store)
	check.True(t, got.Ran > 100, "only %d keys ran", got.Ran)
	var all sync.WaitGroup
	for i := range 32 {
		key := strconv.Itoa(i % 8)
		all.Go(func() {
			_, err := DoTx(bg, s.guard, s.Store, s.key(key), key, func(ctx context.Context, tx pgx.Tx) (string, error) {
				return "paid", s.charge(ctx, tx, key)
			})
			if err != nil && !errors.Is(err, onceward.ErrInProgress) {
				t.Errorf("DoTx: %v", err)
			}
		})
	}
	all.Wait()
	for i := range 8 {
		check.Equal(t, s.effects(t, strconv.Itoa(i)), 1, "effects")
	}
}

// Prepared statements that another connection has are refused, nothing is written, and the error says what to set.
func TestPgBouncerWithPreparedStatements(t *testing.T) {
	server := testsvc.Postgres(t)
	front := testsvc.PgBouncer(t, server)
	schema := openAt(t, server.URL, nil).schema
	pool := poolOf(t, front.URL+"&pool_max_conns=20")
	s, err := New(pool, &Options{Schema: schema, Logger: quiet})
	check.NoError(t, err, "a store")
	check.True(t, strings.Contains(strings.Join(s.Promise().Notes, ""), "default_query_exec_mode=cache_describe"),
		"what is said of PgBouncer: %q", s.Promise().Notes)
	check.True(t, !strings.Contains(strings.Join(openAt(t, server.URL, nil).Promise().Notes, ""), "pooler"), "a pooler where there is none")
	// The connections of the pool take turns, and the five behind PgBouncer too.
	for end := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(end); {
		calls := make(chan error, 20)
		for range cap(calls) {
			go func() {
				_, err := s.Get(bg, newID())
				calls <- err
			}()
		}
		for range cap(calls) {
			err = cmp.Or(err, <-calls)
		}
	}
	check.ErrorIs(t, err, driver.ErrUnavailable, "a call with prepared statements")
	check.True(t, strings.Contains(err.Error(), "default_query_exec_mode=cache_describe"), "the error does not say what to set: %v", err)
}
