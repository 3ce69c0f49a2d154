package spec

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/mysqlstore"
	"github.com/onceward/onceward/pgstore"
	"github.com/onceward/onceward/redisstore"
)

// service is a kind of server, and how a store on it is opened, given where it listens or where a proxy to it does.
type service struct {
	name  string
	rules Rules
	start func(t testing.TB) *testsvc.Server
	open  func(t testing.TB, s *testsvc.Server, addr string) driver.Store
	// Who reads a database sees what was committed, not what is decided and just being committed, for as long as that takes. So
	// an owner may renew what another one has just seen expire, though never what somebody has taken since. Where that is so
	// nothing expires here, and leases end by being given up. The suite, which is in less of a hurry, checks the clocks.
	commits bool
}

var services = []service{
	// It cuts moments to milliseconds. What is left of an outcome it counts from when it heard of it last.
	{"redis", Rules{Skew: 5 * time.Millisecond, Stale: patience}, redis, openRedis, false},
	{"postgres", Rules{Skew: 10 * time.Millisecond}, postgres, openPostgres, true},
	{"mariadb", Rules{Skew: 10 * time.Millisecond}, mariadb, openMariaDB, true},
}

// patience is how long a call waits.
const patience = 300 * time.Millisecond

func redis(t testing.TB) *testsvc.Server {
	t.Helper()
	return testsvc.Redis(t)
}

func openRedis(t testing.TB, _ *testsvc.Server, addr string) driver.Store {
	t.Helper()
	s, err := redisstore.Open("redis://"+addr, &redisstore.Options{Logger: quiet})
	check.NoError(t, err, "opening a store on Redis")
	t.Cleanup(s.Close)
	return s
}

func postgres(t testing.TB) *testsvc.Server {
	t.Helper()
	server := testsvc.Postgres(t)
	_, err := pgstore.Migrate(t.Context(), server.URL, pgstore.Latest, nil)
	check.NoError(t, err, "migrating PostgreSQL")
	return server
}

func openPostgres(t testing.TB, server *testsvc.Server, addr string) driver.Store {
	t.Helper()
	s, err := pgstore.Open(strings.Replace(server.URL, server.Addr, addr, 1), &pgstore.Options{Logger: quiet})
	check.NoError(t, err, "opening a store on PostgreSQL")
	t.Cleanup(s.Close)
	return s
}

func mariadb(t testing.TB) *testsvc.Server {
	t.Helper()
	server := testsvc.MariaDB(t)
	_, err := mysqlstore.Migrate(t.Context(), server.URL, mysqlstore.Latest, nil)
	check.NoError(t, err, "migrating MariaDB")
	return server
}

func openMariaDB(t testing.TB, server *testsvc.Server, addr string) driver.Store {
	t.Helper()
	s, err := mysqlstore.Open(strings.Replace(server.URL, server.Addr, addr, 1), &mysqlstore.Options{Logger: quiet})
	check.NoError(t, err, "opening a store on MariaDB")
	t.Cleanup(s.Close)
	return s
}

// series is histories of the general profile on several stores, because what hits a connection hits all calls on it.
func (on *service) series(t *testing.T, server *testsvc.Server, addr string, histories int) series {
	t.Helper()
	s := series{
		profile: realTime(20 * time.Millisecond), rules: on.rules, histories: histories, atOnce: 32, seed: seedOf(t),
	}
	s.profile.Patience = patience
	if on.commits {
		s.profile.Patience = 5 * patience // to connect takes several ways there and back
		s.profile.Leases, s.profile.Retains, s.profile.Weights.GiveUp = []int{1e5}, []int{1e5}, 8
	}
	for range 8 {
		s.stores = append(s.stores, on.open(t, server, addr))
	}
	return s
}

// shows is what has to happen for a run to prove something.
func (on *service) shows() []string {
	if on.commits { // next to nothing is taken over where nothing expires
		return []string{"acquired", "done", "lost"}
	}
	return everything
}

func TestServers(t *testing.T) {
	for _, on := range services {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel() // as above
			server := on.start(t)
			c, started := tally{}, time.Now()
			s := on.series(t, server, server.Addr, size(100, 5000))
			s.inRealTime(t, &c, nil)
			c.legal(t, on.name, s.seed, started, on.shows()...)
		})
	}
}

// Between clients and server replies are lost, requests are late, and both are slow.
func TestServersBehindABadNetwork(t *testing.T) {
	for _, on := range services {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel() // as above
			server := on.start(t)
			proxy := testsvc.NewProxy(t, server.Addr)
			c, started := tally{}, time.Now()
			s := on.series(t, server, proxy.Addr, size(100, 5000))
			proxy.Fault(spoil(s.seed))
			s.inRealTime(t, &c, nil)
			dropped, late, slow := proxy.Count(testsvc.DropReply), proxy.Count(testsvc.Late), proxy.Count(testsvc.Delay)
			c.legal(t, fmt.Sprintf("%s, %d replies dropped, %d requests late, %d slow", on.name, dropped, late, slow),
				s.seed, started, "acquired", "done", "lost", "running", "taken over", "unknown")
			check.True(t, min(dropped, late, slow) >= s.histories/20, "%d, %d, %d: too few faults to prove anything", dropped, late, slow)
		})
	}
}

// spoil decides about what is sent. The first few chunks open the connection.
func spoil(seed uint64) func(testsvc.Chunk) testsvc.Action {
	return func(c testsvc.Chunk) testsvc.Action {
		n := c.Chance(seed)
		switch {
		case c.Number <= 8:
			return testsvc.Action{}
		case c.Request && n < 0.01:
			return testsvc.Action{Kind: testsvc.Late, After: time.Duration(n * 1e4 * float64(time.Millisecond))} // up to 100 ms
		case !c.Request && n < 0.01:
			return testsvc.Action{Kind: testsvc.DropReply}
		case n < 0.05:
			return testsvc.Action{Kind: testsvc.Delay, After: time.Duration(n * 1e3 * float64(time.Millisecond))} // up to 50 ms
		default:
			return testsvc.Action{}
		}
	}
}

// The server is killed, stopped and started again, and paused for less and for more than callers wait.
func TestServersThatFail(t *testing.T) {
	for _, on := range services {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel() // as above
			server := on.start(t)
			c, started := tally{}, time.Now()
			s := on.series(t, server, server.Addr, size(100, 5000))
			s.inRealTime(t, &c, func() {
				for i := range size(6, 200) {
					time.Sleep(300 * time.Millisecond)
					switch i % 3 {
					case 0:
						server.Kill()
						server.Restart()
					case 1:
						server.Pause()
						time.Sleep(time.Duration(50+i%2*400) * time.Millisecond)
						server.Resume()
					default:
						server.Restart()
					}
				}
			})
			c.legal(t, on.name+" that fails", s.seed, started, append(on.shows()[:3:3], "unknown", "unavailable")...)
		})
	}
}
