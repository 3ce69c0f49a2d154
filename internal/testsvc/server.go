// Package testsvc starts real servers for tests, Redis, PostgreSQL and MariaDB, and breaks them: a server of one's own can be
// killed, stopped, restarted and paused, and a [Proxy] in front of any server spoils its connections.
//
//	db := testsvc.Postgres(t, "max_connections = 300")
//	pool, err := pgxpool.New(ctx, db.URL)
//	…
//	db.Kill()
//	db.Restart()
//
// Servers are child processes on 127.0.0.1, on a random port, in a temporary folder. When the tests run as root they run as
// the user of the service, otherwise as the user of the tests. They end with the test, and also when the test process is
// killed with -9. They keep what they have acknowledged, as a careful operator would have it: Redis appends to a file that
// is synced for every write, the others have their defaults. A program that is missing fails the test with the line that
// installs it; nothing is ever skipped.
package testsvc

import (
	"net/url"
	"testing"
)

// Server is a server that a test may speak to. Its methods are for the goroutine of that test.
type Server struct {
	Addr string // host:port
	URL  string // redis://, postgres:// or mysql://, with the credentials of a user who may do everything

	t       testing.TB
	service *service
	url     *url.URL
	own     *instance // nil: it is not this test's
}

// Redis starts a Redis for this test. settings are lines of redis.conf, such as "maxmemory 8mb" or "replicaof 127.0.0.1 6379";
// they stand after the package's own, so that theirs count.
func Redis(t testing.TB, settings ...string) *Server {
	t.Helper()
	return start(t, &redis, settings)
}

// Sentinel starts a Redis Sentinel for this test. settings are lines of sentinel.conf, of which it needs at least
// "sentinel monitor NAME HOST PORT QUORUM".
func Sentinel(t testing.TB, settings ...string) *Server {
	t.Helper()
	return start(t, &sentinel, settings)
}

// Postgres starts a PostgreSQL for this test. settings are lines of postgresql.conf, such as "max_connections = 300"; they
// stand after the package's own.
func Postgres(t testing.TB, settings ...string) *Server {
	t.Helper()
	return start(t, &postgres, settings)
}

// MariaDB starts a MariaDB for this test. settings are lines of the section [mariadbd] of my.cnf, such as
// "max_connections = 300"; they stand after the package's own. It takes two to four seconds.
func MariaDB(t testing.TB, settings ...string) *Server {
	t.Helper()
	return start(t, &mariadb, settings)
}

func start(t testing.TB, s *service, settings []string) *Server {
	t.Helper()
	own, err := s.start(settings, freePort)
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(t, s, own.url(own))
	server.own = own
	t.Cleanup(server.close)
	return server
}

func newServer(t testing.TB, s *service, at *url.URL) *Server {
	t.Helper()
	return &Server{Addr: at.Host, URL: at.String(), t: t, service: s, url: at}
}

// close ends the server. One that has ended without being asked to has crashed.
func (s *Server) close() {
	if p := s.own.process; p != nil {
		select {
		case <-p.gone:
			s.t.Errorf("%s has ended by itself", s.service.name)
		default:
		}
	}
	logTail(s.t, s.own)
	s.own.remove()
}

func logTail(t testing.TB, i *instance) {
	t.Helper()
	if t.Failed() {
		t.Logf("the last lines of %s at %s:\n%s", i.name, i.addr(), i.log.tail())
	}
}

// DSN is the URL in the form that github.com/go-sql-driver/mysql takes.
func (s *Server) DSN() string { return dsn(s.url) }

// Owned reports whether the server is this test's alone, so that it may be killed, stopped, restarted and paused.
func (s *Server) Owned() bool { return s.own != nil }

// Kill ends all processes of the server with kill -9 and waits until they are gone. Nobody listens on its port then.
func (s *Server) Kill() {
	s.t.Helper()
	s.must((*instance).kill)
}

// Stop ends the server as an operator does, without waiting for its clients, and waits until it is gone.
func (s *Server) Stop() {
	s.t.Helper()
	s.must((*instance).end)
}

// Restart starts the server again on its port, with its data and settings, and waits until it answers. One that runs is
// stopped before.
func (s *Server) Restart() {
	s.t.Helper()
	s.must((*instance).end)
	s.must((*instance).launch)
}

// Pause stops all processes of the server with SIGSTOP: it accepts connections, because the kernel does, and is silent.
func (s *Server) Pause() {
	s.t.Helper()
	s.running()
	s.must((*instance).pause)
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.t.Helper()
	s.running()
	s.must((*instance).resume)
}

func (s *Server) must(step func(*instance) error) {
	s.t.Helper()
	if !s.Owned() {
		s.t.Fatalf("the %s at %s is not this test's alone; start one for it", s.service.name, s.Addr)
	}
	if err := step(s.own); err != nil {
		s.t.Fatal(err)
	}
}

func (s *Server) running() {
	s.t.Helper()
	s.must(func(i *instance) error {
		if i.process == nil {
			s.t.Fatalf("%s does not run; Restart it first", i.name)
		}
		return nil
	})
}
