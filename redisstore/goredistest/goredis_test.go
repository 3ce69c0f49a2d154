// Package goredistest uses redisstore with go-redis, as users of go-redis do. It is never released, and a module of its own
// so that nobody gets a second client with redisstore.
package goredistest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/redisstore"
	"github.com/onceward/onceward/storetest"
)

// open returns a store on a client with the defaults of go-redis, which repeats what fails.
func open(t testing.TB, url, namespace string) *redisstore.Store {
	t.Helper()
	options, err := redis.ParseURL(url)
	check.NoError(t, err, "the address")
	client := redis.NewClient(options)
	t.Cleanup(func() { check.NoError(t, client.Close(), "closing the client") })
	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
	}
	s, err := redisstore.NewFromEval(eval, &redisstore.Options{Namespace: namespace, Logger: slog.New(slog.DiscardHandler)})
	check.NoError(t, err, "a store on go-redis")
	t.Cleanup(s.Close)
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel() // most of it is waiting
	server := testsvc.Redis(t)
	storetest.Run(t, func(t testing.TB) driver.Store { return open(t, server.URL, testsvc.Name()) }, &storetest.Options{RealTime: true})
}

// Every tenth reply is lost, and go-redis makes the call again by itself: whoever acquired has still acquired, nothing runs
// twice, and nobody is told that it lost what it has completed.
func TestRepeatedByTheClient(t *testing.T) {
	t.Parallel() // as above
	const keys, callers = 300, 8
	server := testsvc.Redis(t)
	proxy := testsvc.NewProxy(t, server.Addr)
	s := open(t, "redis://"+proxy.Addr, testsvc.Name())
	var lost atomic.Int64
	proxy.Fault(func(c testsvc.Chunk) testsvc.Action {
		if c.Request && bytes.Contains(c.Bytes, []byte("evalsha")) && c.Chance(3) < 0.1 {
			lost.Add(1)
			return testsvc.Action{Kind: testsvc.DropReply}
		}
		return testsvc.Action{}
	})
	var runs [keys]atomic.Int64
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for key := range keys {
				c := claim(caller, key)
				g, err := s.Acquire(context.Background(), driver.ID{0: byte(key), 1: byte(key >> 8)}, c)
				if err != nil {
					t.Errorf("go-redis gave up: %v", err)
					return
				}
				if g.Verdict != driver.Acquired {
					continue
				}
				runs[key].Add(1)
				out := driver.Outcome{Kind: driver.Answer, Bytes: fmt.Append(nil, key)}
				if err := s.Complete(context.Background(), g.Record.ID, c.Owner, out); err != nil {
					t.Errorf("Complete by the owner: %v", err)
				}
			}
		})
	}
	all.Wait()
	for key := range keys {
		check.Equal(t, runs[key].Load(), 1, "runs of key %d", key)
	}
	t.Logf("%d replies were lost", lost.Load())
	check.True(t, lost.Load() > 50, "only %d replies were lost, which proves too little", lost.Load())
}

func claim(caller, key int) driver.Claim {
	return driver.Claim{
		Owner:       driver.Owner{0: byte(caller + 1), 1: byte(key), 2: byte(key >> 8)},
		Fingerprint: driver.Fingerprint{Algorithm: "test", Sum: "the request"},
		OnCrash:     driver.Hold, MaxAttempts: 1, MaxExecution: time.Minute,
		Lease: time.Minute, Retain: time.Hour, DoubtRetain: time.Hour,
	}
}
