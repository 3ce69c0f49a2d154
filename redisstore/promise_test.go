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
		{"no-appendfsync-on-rewrite yes", "no-appendfsync-on-rewrite is yes"},
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
	f := facts{config: map[string]string{"appendfsync": "always"}, mode: rueidis.ClientModeStandalone, info: map[string]string{
		"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.0.1", "redis_mode": "standalone", "role": "master",
		"maxmemory_policy": "noeviction", "aof_enabled": "1", "connected_slaves": "0",
	}}
	doubtful := func(doubts int, what string) {
		t.Helper()
		p, err := judge([]facts{f}, false)
		check.NoError(t, err, "%s", what)
		check.Equal(t, len(p.Doubts), doubts, "doubts with %s", what)
		check.Equal(t, p.Server, "Valkey 8.0.1", "the server")
	}
	doubtful(0, "one server")
	f.mode = rueidis.ClientModeSentinel
	doubtful(1, "Sentinel")
	f.mode, f.info["redis_mode"] = rueidis.ClientModeCluster, "cluster"
	doubtful(1, "Cluster")
	f.mode = rueidis.ClientModeStandalone
	_, err := judge([]facts{f}, false)
	check.True(t, err != nil && strings.Contains(err.Error(), "redis+cluster://"), "a node of a cluster: %v", err)
	f.info["redis_mode"], f.info["connected_slaves"] = "standalone", "2"
	doubtful(1, "replicas")
	f.info["redis_version"] = "5.0.14"
	_, err = judge([]facts{f}, false)
	check.True(t, err != nil, "Redis 5 is taken")
}

// A log that was turned on while the server runs holds what is written from then on, and the rest when its first rewrite has
// ended.
func TestLogThatIsNotWholeYet(t *testing.T) {
	server := testsvc.Redis(t, "appendonly no", "rdb-key-save-delay 10000")
	client := clientOf(t, server.URL)
	for range 200 {
		redis(t, client, "SET", newID().String(), "")
	}
	redis(t, client, "CONFIG", "SET", "appendonly", "yes")
	s := openAt(t, server.URL, nil)
	check.True(t, strings.Contains(s.Promise().String(), "written for the first time"), "while it is written: %s", s.Promise())
	redis(t, client, "CONFIG", "SET", "rdb-key-save-delay", "0")
	eventually(t, "the end of the rewrite", says(t, server.URL, "aof_rewrite_in_progress:0", "INFO", "persistence"))
	check.Equal(t, openAt(t, server.URL, nil).Promise().Doubts, nil, "doubts when it is written")
}

// What becomes of the promise is said when keys are acquired, once for each change.
func TestChangesAreTold(t *testing.T) {
	server := testsvc.Redis(t)
	client := clientOf(t, server.URL)
	var log bytes.Buffer
	s, err := Open(server.URL, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	check.NoError(t, err, "opening a store")
	t.Cleanup(s.Close)
	told := func() string {
		log.Reset()
		s.watch.due.Store(0)
		for range 3 {
			_, err := s.Acquire(bg, newID(), claim())
			check.NoError(t, err, "Acquire")
		}
		s.watch.looking.Wait()
		return log.String()
	}
	check.Equal(t, told(), "", "what is said of no change")
	redis(t, client, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	first := told()
	check.True(t, strings.Contains(first, "level=WARN") && strings.Contains(first, "allkeys-lru"), "a policy that evicts: %q", first)
	check.Equal(t, told(), "", "what is said a second time")
	redis(t, client, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	back := told()
	check.True(t, strings.Contains(back, "level=INFO") && strings.Contains(back, "durable"), "what is said when it is well again: %q", back)

	s.watch.close()
	redis(t, client, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	check.Equal(t, told(), "", "what is said after Close")
	check.True(t, s.watch.due.Load() > 0, "nobody noticed that it was time to look")
}

func TestEvictionIsRefused(t *testing.T) {
	server := testsvc.Redis(t, "maxmemory-policy allkeys-lru")
	_, err := Open(server.URL, &Options{Logger: quiet})
	check.True(t, err != nil, "a server that evicts is taken")
	for _, hint := range []string{"maxmemory-policy", "allkeys-lru", "noeviction", "Options.AllowEviction"} {
		check.True(t, strings.Contains(err.Error(), hint), "%q does not name %s", err, hint)
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
