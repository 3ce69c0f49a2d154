package spec

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/faults"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/mysqlstore"
	"github.com/onceward/onceward/pgstore"
	"github.com/onceward/onceward/proof/report"
	"github.com/onceward/onceward/redisstore"
)

// service is a kind of server, and how a store on it is opened: through the second address, when its tables are made through
// the first.
type service struct {
	name    string
	rules   Rules
	start   func(t testing.TB, settings ...string) *testsvc.Server
	connect func(ctx context.Context, server, through string) (faults.Store, error)
	// Who reads a database sees what was committed, not what is decided and just being committed, for as long as that takes. So
	// an owner may renew what another one has just seen expire, though never what somebody has taken since. Where that is so
	// nothing expires here, and leases end by being given up. The suite, which is in less of a hurry, checks the clocks.
	commits bool
}

var services = []service{
	// It cuts moments to milliseconds. What is left of an outcome it counts from when it asked last, if the answer came soon.
	{"redis", Rules{Skew: 5 * time.Millisecond, Stale: 100 * time.Millisecond}, testsvc.Redis, openRedis, false},
	{"postgres", Rules{Skew: 10 * time.Millisecond}, testsvc.Postgres, openPostgres, true},
	{"mariadb", Rules{Skew: 10 * time.Millisecond}, testsvc.MariaDB, openMariaDB, true},
}

// patience is how long a call waits.
const patience = 300 * time.Millisecond

func openRedis(_ context.Context, _, through string) (faults.Store, error) {
	return redisstore.Open(through, &redisstore.Options{Logger: quiet})
}

func openPostgres(ctx context.Context, server, through string) (faults.Store, error) {
	if _, err := pgstore.Migrate(ctx, server, pgstore.Latest, nil); err != nil {
		return nil, err
	}
	return pgstore.Open(through, &pgstore.Options{Logger: quiet})
}

func openMariaDB(ctx context.Context, server, through string) (faults.Store, error) {
	if _, err := mysqlstore.Migrate(ctx, server, mysqlstore.Latest, nil); err != nil {
		return nil, err
	}
	return mysqlstore.Open(through, &mysqlstore.Options{Logger: quiet})
}

// open opens a store where the server listens, or where a proxy to it does.
func (on *service) open(t testing.TB, server *testsvc.Server, addr string) driver.Store {
	t.Helper()
	s, err := on.connect(t.Context(), server.URL, strings.Replace(server.URL, server.Addr, addr, 1))
	check.NoError(t, err, "opening a store on %s", on.name)
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
			s := on.series(t, server, server.Addr, report.Size(100, 5000))
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
			s := on.series(t, server, proxy.Addr, report.Size(100, 5000))
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
			s := on.series(t, server, server.Addr, report.Size(100, 5000))
			s.inRealTime(t, &c, func() {
				for i := range report.Size(6, 200) {
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
