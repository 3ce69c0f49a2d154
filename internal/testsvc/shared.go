package testsvc

import (
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// The servers that the tests of this process share. Their watchdogs end them with the process.
var (
	sharedRedis    = sync.OnceValues(func() (*instance, error) { return redis.start(nil, freePort) })
	sharedPostgres = sync.OnceValues(func() (*instance, error) { return postgres.start(nil, freePort) })
	sharedMariaDB  = sync.OnceValues(func() (*instance, error) { return mariadb.start(nil, freePort) })
)

// SharedRedis is the Redis at TEST_REDIS_URL, or else one that all tests of this process share. A test keeps apart from the
// others by a namespace, see [Name]. It is not Owned.
//
// All three may be called concurrently. The first call starts the server, and a goroutine that stays, which a check for leaks
// has to come after.
func SharedRedis(t testing.TB) *Server {
	t.Helper()
	return share(t, &redis, sharedRedis)
}

// SharedPostgres is the PostgreSQL at TEST_POSTGRES_URL, or else one that all tests of this process share. A test keeps apart
// from the others by a [Server.Database] of its own. It is not Owned.
func SharedPostgres(t testing.TB) *Server {
	t.Helper()
	return share(t, &postgres, sharedPostgres)
}

// SharedMariaDB is the MariaDB or MySQL at TEST_MYSQL_URL, or else one that all tests of this process share. A test keeps apart
// from the others by a [Server.Database] of its own. It is not Owned.
func SharedMariaDB(t testing.TB) *Server {
	t.Helper()
	return share(t, &mariadb, sharedMariaDB)
}

func share(t testing.TB, s *service, started func() (*instance, error)) *Server {
	t.Helper()
	if text := os.Getenv(s.variable); text != "" {
		at, err := url.Parse(text)
		if err != nil || at.Host == "" { // the error would show the password
			t.Fatalf("%s is set, but not to a URL such as scheme://user:password@host:port/name", s.variable)
		}
		return newServer(t, s, at)
	}
	i, err := started()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { logTail(t, i) })
	return newServer(t, s, i.url(i))
}

// Name is a name that nobody else has, of 31 lower-case letters, digits and underscores: for a namespace, schema or database.
func Name() string { return "test_" + strings.ToLower(rand.Text()) }

// Database makes an empty database on a PostgreSQL or MariaDB, which is dropped at the end of the test, and returns the
// server with URL and DSN leading there.
func (s *Server) Database() *Server {
	s.t.Helper()
	if s.service.sql == nil {
		s.t.Fatalf("%s has no databases to create; use a namespace, see testsvc.Name", s.service.name)
	}
	name := Name()
	s.execute("CREATE DATABASE " + name)
	at := *s.url
	at.Path = "/" + name
	if !s.Owned() { // one that is owned takes its databases with it
		s.t.Cleanup(func() {
			drop := "DROP DATABASE " + name
			if s.service == &postgres {
				drop += " WITH (FORCE)"
			}
			s.execute(drop)
		})
	}
	there := newServer(s.t, s.service, &at)
	there.own = s.own
	return there
}

// execute runs a statement with the client program of the database and returns what it prints.
func (s *Server) execute(statement string) string {
	s.t.Helper()
	out, err := s.tryExecute(statement)
	if err != nil {
		s.t.Fatalf("%s at %s: %s: %v\n%s", s.service.name, s.Addr, statement, err, out)
	}
	return string(out)
}

func (s *Server) tryExecute(statement string) ([]byte, error) {
	program, err := find(s.service.client, s.service.debian)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience) // that of the test has ended when it cleans up
	defer cancel()
	args, secret := s.service.sql(s.url, statement)
	cmd := exec.CommandContext(ctx, program, args...) //nolint:gosec // the statements are ours
	cmd.Env = append(os.Environ(), secret)
	return cmd.CombinedOutput()
}
