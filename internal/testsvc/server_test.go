package testsvc

import (
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// kind is a kind of server, with a setting, and what to do with it.
type kind struct {
	name    string
	start   func(testing.TB, ...string) *Server
	setting string
	obeys   func(*testing.T, *Server) string // is 17 if the setting counts
	keep    func(*testing.T, *Server)        // puts tea into the server
	kept    func(*testing.T, *Server) string
	pause   func(*testing.T, *Server)
	bye     string // the end of its log when it has ended in order
}

var kinds = []kind{
	{
		name: "redis", start: Redis, setting: "databases 17",
		obeys: func(t *testing.T, s *Server) string {
			return strings.TrimPrefix(connect(t, s.Addr).redis("CONFIG", "GET", "databases"), "databases ")
		},
		keep:  func(t *testing.T, s *Server) { connect(t, s.Addr).redis("SET", "cup", "tea") },
		kept:  func(t *testing.T, s *Server) string { return connect(t, s.Addr).redis("GET", "cup") },
		pause: pauseRedis, bye: "now ready to exit",
	},
	{
		name: "postgres", start: Postgres, setting: "max_connections = 17",
		obeys: func(t *testing.T, s *Server) string { return login(t, s).query("SHOW max_connections") },
		keep:  func(t *testing.T, s *Server) { login(t, s).query("CREATE TABLE cup AS SELECT 'tea' AS content") },
		kept:  func(t *testing.T, s *Server) string { return login(t, s).query("SELECT content FROM cup") },
		pause: pausePostgres, bye: "database system is shut down",
	},
	{
		name: "mariadb", start: MariaDB, setting: "max_connections = 17",
		obeys: func(_ *testing.T, s *Server) string { return s.value("SELECT @@max_connections") },
		keep:  func(_ *testing.T, s *Server) { s.execute("CREATE TABLE cup AS SELECT 'tea' AS content") },
		kept:  func(_ *testing.T, s *Server) string { return s.value("SELECT content FROM cup") },
		pause: pauseMariaDB, bye: "Shutdown complete",
	},
}

// value is the last word of what a statement prints.
func (s *Server) value(statement string) string {
	s.t.Helper()
	words := strings.Fields(s.execute(statement))
	return words[len(words)-1]
}

func TestServers(t *testing.T) {
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := k.start(t, k.setting)
			check.True(t, s.Owned(), "it is not owned")
			check.Equal(t, k.obeys(t, s), "17", "the setting")
			k.keep(t, s)
			k.pause(t, s)
			k.endings(t, s)
			check.Equal(t, k.obeys(t, s), "17", "the setting, after all that")
			s.Pause() // which must not hinder its end
		})
	}
}

func (k kind) endings(t *testing.T, s *Server) {
	t.Helper()
	check.Equal(t, k.kept(t, s), "tea", "at first")
	for _, end := range []struct {
		how     string
		do      func()
		orderly bool
	}{
		{"kill -9", s.Kill, false},
		{"an orderly end", s.Stop, true},
		{"kill -9 in a pause", func() { s.Pause(); s.Kill() }, false},
		{"an orderly end in a pause", func() { s.Pause(); s.Stop() }, true},
	} {
		end.do()
		refused(t, s.Addr)
		check.Equal(t, strings.Contains(s.own.log.tail(), k.bye), end.orderly, "order, in %s", end.how)
		s.Restart()
		check.Equal(t, k.kept(t, s), "tea", "after %s", end.how)
	}
	before := s.own.process.Pid
	s.Restart()
	check.True(t, s.own.process.Pid != before, "it is the same process")
	check.Equal(t, k.kept(t, s), "tea", "after a restart of one that runs")
}

// refused checks that nobody listens.
func refused(t *testing.T, addr string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err == nil {
		_ = conn.Close()
	}
	check.ErrorIs(t, err, syscall.ECONNREFUSED, "connecting to who is gone")
}

func pauseRedis(t *testing.T, s *Server) {
	t.Helper()
	c := connect(t, s.Addr)
	s.Pause()
	c.redisSend("ECHO", "awake")
	c.silent()
	s.Resume()
	check.Equal(t, c.redisReply(), "awake", "after the pause")
}

func pausePostgres(t *testing.T, s *Server) {
	t.Helper()
	c := login(t, s) // has a process of its own
	s.Pause()
	c.postgresSend('Q', "SELECT 'awake'")
	c.silent()
	s.Resume()
	check.Equal(t, c.postgresUntil('Z'), "awake", "after the pause")
}

func pauseMariaDB(t *testing.T, s *Server) {
	t.Helper()
	s.Pause()
	c := connect(t, s.Addr)
	c.silent()
	s.Resume()
	check.True(t, strings.Contains(c.mariadb(), "MariaDB"), "who greets after the pause")
}

func TestServersDoNotCollide(t *testing.T) {
	t.Parallel()
	one, other := Redis(t), Redis(t)
	check.True(t, one.Addr != other.Addr, "two servers are at one address")
	connect(t, one.Addr).redis("SET", "cup", "tea")
	connect(t, other.Addr).redis("SET", "cup", "coffee")
	one.Kill()
	check.Equal(t, connect(t, other.Addr).redis("GET", "cup"), "coffee", "beside one that was killed")
	one.Restart()
	check.Equal(t, connect(t, one.Addr).redis("GET", "cup"), "tea", "what the one keeps")
}

func TestTestsSettingsStandLast(t *testing.T) {
	t.Parallel()
	s := Redis(t, "appendonly no", "maxmemory 8mb")
	c := connect(t, s.Addr)
	check.Equal(t, c.redis("CONFIG", "GET", "appendonly"), "appendonly no", "a setting that has been made before")
	check.Equal(t, c.redis("CONFIG", "GET", "maxmemory"), "maxmemory 8388608", "a new setting")
}

func TestTakenPortIsGivenUp(t *testing.T) {
	t.Parallel()
	for _, service := range []*service{&redis, &postgres, &mariadb} {
		t.Run(service.name, func(t *testing.T) {
			t.Parallel()
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			check.NoError(t, err, "taking a port")
			defer taken.Close()
			ports := []int{taken.Addr().(*net.TCPAddr).Port, freePort()}
			i, err := service.start(nil, func() int {
				port := ports[0]
				ports = ports[1:]
				return port
			})
			check.NoError(t, err, "starting with one port taken")
			defer i.remove()
			check.Equal(t, len(ports), 0, "ports that were not tried")
		})
	}
}
