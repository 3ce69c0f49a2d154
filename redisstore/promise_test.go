package redisstore

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

func TestPromise(t *testing.T) {
	for _, c := range []struct {
		setting string
		says    string
	}{
		{"", "durable: "},
		{"appendonly no", "appendonly is no"},
		{"appendfsync everysec", "appendfsync is everysec"},
		{"maxmemory-policy volatile-lru", "maxmemory-policy volatile-lru drops keys"},
		{"rename-command CONFIG \"\"", "nobody may ask here whether appendfsync is always"},
	} {
		server := testsvc.Redis(t, c.setting)
		var log bytes.Buffer
		o := &Options{AllowEviction: true, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		s, err := Open(server.URL, o)
		check.NoError(t, err, "opening with %q", c.setting)
		s.Close()
		p := s.Promise()
		check.Equal(t, len(p.Doubts) > 0, c.setting != "", "%q gives doubts", c.setting)
		check.True(t, strings.Contains(p.String(), c.says), "with %q: %q does not say %q", c.setting, p, c.says)
		check.True(t, strings.HasPrefix(p.Server, "Redis "), "%q is no name", p.Server)
		check.Equal(t, strings.Contains(log.String(), "level=WARN"), c.setting != "", "a warning in %s", log.String())
		check.True(t, strings.Contains(log.String(), c.says), "the log does not say it: %s", log.String())

		log.Reset()
		o.BestEffort = true
		s, err = Open(server.URL, o)
		check.NoError(t, err, "opening with BestEffort")
		s.Close()
		check.True(t, strings.Contains(log.String(), "level=INFO"), "the log of who knows: %s", log.String())
	}
}

func TestReplicasAreDoubtful(t *testing.T) {
	f := facts{major: 7, fsync: "always", mode: rueidis.ClientModeStandalone, info: map[string]string{
		"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1", "redis_mode": "standalone", "role": "master",
		"maxmemory_policy": "noeviction", "aof_enabled": "1", "connected_slaves": "0",
	}}
	judge := func(doubts int, what string) {
		t.Helper()
		p, err := f.judge(false)
		check.NoError(t, err, "%s", what)
		check.Equal(t, len(p.Doubts), doubts, "doubts with %s", what)
		check.Equal(t, p.Server, "Valkey 8.0.1", "the server")
	}
	judge(0, "one server")
	f.mode = rueidis.ClientModeSentinel
	judge(1, "Sentinel")
	f.mode, f.info["redis_mode"] = rueidis.ClientModeCluster, "cluster"
	judge(1, "Cluster")
	f.mode = rueidis.ClientModeStandalone
	_, err := f.judge(false)
	check.True(t, err != nil && strings.Contains(err.Error(), "redis+cluster://"), "a node of a cluster: %v", err)
	f.info["redis_mode"], f.info["connected_slaves"] = "standalone", "2"
	judge(1, "replicas")
	f.major = 5
	_, err = f.judge(false)
	check.True(t, err != nil, "Redis 5 is taken")
}

func TestEvictionIsRefused(t *testing.T) {
	server := testsvc.Redis(t, "maxmemory-policy allkeys-lru")
	_, err := Open(server.URL, &Options{Logger: quiet})
	check.True(t, err != nil, "a server that evicts is taken")
	for _, hint := range []string{"maxmemory-policy", "allkeys-lru", "noeviction", "Options.AllowEviction"} {
		check.True(t, strings.Contains(err.Error(), hint), "%q does not name %s", err, hint)
	}
}

func TestAddresses(t *testing.T) {
	for address, want := range map[string]struct {
		hosts  string
		master string
		db     int
		user   string
		tls    bool
	}{
		"redis://localhost":                             {hosts: "localhost:6379"},
		"redis://u:p%40@h:1/3":                          {hosts: "h:1", db: 3, user: "u:p@"},
		"rediss://h":                                    {hosts: "h:6379", tls: true},
		"unix:///run/redis.sock?db=2":                   {hosts: "/run/redis.sock", db: 2},
		"redis+sentinel://u:p@a,b:1,[::1]/main?db=1":    {hosts: "a:26379,b:1,[::1]:26379", master: "main", db: 1, user: "u:p"},
		"rediss+cluster://a:1,b":                        {hosts: "a:1,b:6379", tls: true},
		"redis://h?master_set=main":                     {hosts: "h:6379", master: "main"},
		"redis+sentinel://a/main?sentinel_user=watcher": {hosts: "a:26379", master: "main"},
	} {
		o, err := parse(address)
		check.NoError(t, err, "%s", address)
		check.Equal(t, strings.Join(o.InitAddress, ","), want.hosts, "hosts of %s", address)
		check.Equal(t, o.Sentinel.MasterSet, want.master, "master of %s", address)
		check.Equal(t, o.SelectDB, want.db, "database of %s", address)
		check.Equal(t, strings.Trim(o.Username+":"+o.Password, ":"), want.user, "user of %s", address)
		check.Equal(t, o.TLSConfig != nil, want.tls, "TLS of %s", address)
	}
	for _, wrong := range []string{
		"", "localhost:6379", "http://h", "redis://user:secret@a,b", "redis+sentinel://user:secret@a", "redis+sentinel://user:secret@a/m?db=x",
		"redis://user:secret@h/x", "redis://user:secret%@h", "redis+nothing://user:secret@h",
	} {
		_, err := parse(wrong)
		check.True(t, err != nil, "%q is taken", wrong)
		check.True(t, !strings.Contains(err.Error(), "secret"), "the error shows the password: %v", err)
	}
}

func TestOptionsAreJudged(t *testing.T) {
	for _, namespace := range []string{"a b", "{a}", "a:b", "*", strings.Repeat("a", 65)} {
		_, err := Open(testsvc.SharedRedis(t).URL, &Options{Namespace: namespace})
		check.True(t, err != nil && strings.Contains(err.Error(), "Options.Namespace"), "namespace %q: %v", namespace, err)
	}
	_, err := NewFromEval(nil, &Options{CacheCompleted: true})
	check.True(t, err != nil && strings.Contains(err.Error(), "CacheCompleted"), "CacheCompleted with Eval: %v", err)
}
