package redisstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/storetest"
)

const unit = 200 * time.Millisecond

var quiet = slog.New(slog.DiscardHandler)

func TestConformance(t *testing.T) {
	t.Parallel() // most of it is waiting
	server := testsvc.Redis(t)
	store := func(t testing.TB) driver.Store { return openAt(t, server.URL, nil) }
	storetest.Run(t, store, &storetest.Options{
		RealTime: true, Parallel: true, Unit: unit, Full: fullStore, Foreign: foreign(server), Trail: trailOn(server),
	})
}

func trailOn(server *testsvc.Server) func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
	return func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
		return openAt(t, server.URL, &Options{Namespace: testsvc.Name(), Audit: level, AuditRetention: retain})
	}
}

// The power is cut as far as a process can be deprived of it.
func TestConformanceOfASurvivor(t *testing.T) {
	t.Parallel() // as above
	server := testsvc.Redis(t)
	store := func(t testing.TB) driver.Store { return openAt(t, server.URL, nil) }
	storetest.Run(t, store, &storetest.Options{
		RealTime: true, Unit: unit, Runs: 2, Trail: trailOn(server),
		Crash: func(t testing.TB, s driver.Store) driver.Store {
			server.Kill()
			server.Restart()
			old := s.(*Store)
			return openAt(t, server.URL, &Options{Namespace: old.namespace, Audit: old.audit, AuditRetention: old.auditRetention})
		},
	})
}

func TestConformanceByScripts(t *testing.T) {
	t.Parallel() // as above
	server := testsvc.Redis(t)
	byScripts := func(t testing.TB, s *Store) driver.Store {
		t.Helper()
		s.direct = nil
		return s
	}
	storetest.Run(t, func(t testing.TB) driver.Store { return byScripts(t, openAt(t, server.URL, nil)) }, &storetest.Options{
		RealTime: true, Unit: unit,
		Full: func(t testing.TB, records int) driver.Store {
			s := fullStore(t, records).(*crowded)
			byScripts(t, s.Store)
			return s
		},
	})
}

// As Redis 6 is spoken to, by who remembers nothing. That it can no more complete what runs when it is full is said in the
// package documentation.
func TestConformanceWithoutFlags(t *testing.T) {
	t.Parallel() // as above
	server := testsvc.Redis(t)
	storetest.Run(t, func(t testing.TB) driver.Store {
		s := openAt(t, server.URL, nil)
		s.direct, s.scripts = nil, newScripts(false)
		return &forgetful{s}
	}, &storetest.Options{RealTime: true, Parallel: true, Unit: unit})
}

func TestConformanceFromEval(t *testing.T) {
	t.Parallel() // as above
	server := testsvc.Redis(t)
	storetest.Run(t, func(t testing.TB) driver.Store {
		return fromEval(t, server, driver.AuditOff, 0)
	}, &storetest.Options{
		RealTime: true, Parallel: true, Unit: unit, Foreign: foreign(server),
		Trail: func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
			return fromEval(t, server, level, retain)
		},
		Full: func(t testing.TB, records int) driver.Store {
			s := fullStore(t, records).(*crowded)
			var err error
			s.Store, err = NewFromEval(evalOn(s.client), &Options{Namespace: testsvc.Name(), Logger: quiet})
			check.NoError(t, err, "a store from Eval")
			return s
		},
	})
}

func fromEval(t testing.TB, server *testsvc.Server, level driver.AuditLevel, retain time.Duration) *Store {
	t.Helper()
	o := Options{Namespace: testsvc.Name(), Logger: quiet, Audit: level, AuditRetention: retain}
	s, err := NewFromEval(evalOn(clientOf(t, server.URL)), &o)
	check.NoError(t, err, "a store from Eval")
	t.Cleanup(s.Close)
	return s
}

// openAt opens a store that is closed at the end. Without a namespace it gets one of its own.
func openAt(t testing.TB, url string, o *Options) *Store {
	t.Helper()
	opts := Options{Namespace: testsvc.Name(), Logger: quiet}
	if o != nil {
		opts = *o
		opts.Logger = quiet
	}
	s, err := Open(url, &opts)
	check.NoError(t, err, "opening a store")
	t.Cleanup(s.Close)
	return s
}

func clientOf(t testing.TB, url string) rueidis.Client {
	t.Helper()
	option, err := parse(url)
	check.NoError(t, err, "the address of a server")
	client, err := rueidis.NewClient(option)
	check.NoError(t, err, "connecting")
	t.Cleanup(client.Close)
	return client
}

// redis is a command outside of the store.
func redis(t testing.TB, client rueidis.Client, args ...string) rueidis.RedisMessage {
	t.Helper()
	m, err := client.Do(context.Background(), client.B().Arbitrary(args...).Build()).ToMessage()
	if !rueidis.IsRedisNil(err) {
		check.NoError(t, err, "%s", args[0])
	}
	return m
}

// evalOn is what a user of another client writes.
func evalOn(client rueidis.Client) Eval {
	return func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		list := make([]string, len(args))
		for i, arg := range args {
			list[i] = fmt.Sprint(arg)
		}
		return client.Do(ctx, client.B().Eval().Script(script).Numkeys(int64(len(keys))).Key(keys...).Arg(list...).Build()).ToAny()
	}
}

// fullStore has a server with room for about so many records.
func fullStore(t testing.TB, records int) driver.Store {
	t.Helper()
	server := testsvc.Redis(t)
	s := &crowded{Store: openAt(t, server.URL, nil), client: clientOf(t, server.URL), t: t}
	memory := redis(t, s.client, "INFO", "memory")
	info, err := memory.ToString()
	check.NoError(t, err, "INFO")
	used, err := strconv.Atoi(factsOf(info).info["used_memory"])
	check.NoError(t, err, "used_memory in INFO")
	s.limit(used + 250_000 + 1000*records) // connections that are still to come take some too
	return s
}

// crowded stays full: the buffers of connections come and go, and count as used memory.
type crowded struct {
	*Store

	client rueidis.Client
	t      testing.TB
	full   sync.Once
}

func (s *crowded) limit(memory int) {
	s.t.Helper()
	redis(s.t, s.client, "CONFIG", "SET", "maxmemory", strconv.Itoa(memory))
}

func (s *crowded) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	g, err := s.Store.Acquire(ctx, id, c)
	if errors.Is(err, driver.ErrFull) {
		s.full.Do(func() { s.limit(1) })
	}
	return g, err
}

// foreign puts keys of others into the database, some with names that are nearly the store's.
func foreign(server *testsvc.Server) func(t testing.TB, s driver.Store) (intact func() error) {
	return func(t testing.TB, s driver.Store) func() error {
		client, prefix := clientOf(t, server.URL), s.(*Store).prefix
		keys := []string{"session:42", "{", prefix, prefix + "}", prefix + "short}", "x" + prefix + strings.Repeat("A", keyLen) + "}"}
		for _, key := range keys {
			redis(t, client, "SET", key, "of somebody else")
		}
		redis(t, client, "RPUSH", prefix+strings.Repeat("A", keyLen)+"}", "a list of somebody else")
		return func() error {
			for _, key := range keys {
				m := redis(t, client, "GET", key)
				if v, err := m.ToString(); err != nil || v != "of somebody else" {
					return fmt.Errorf("%q holds %q: %w", key, v, err)
				}
			}
			m := redis(t, client, "LLEN", prefix+strings.Repeat("A", keyLen)+"}")
			if n, err := m.AsInt64(); n != 1 {
				return fmt.Errorf("the list has %d elements: %w", n, err)
			}
			return nil
		}
	}
}
