package testsvc

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

func TestSentinelsFailOver(t *testing.T) {
	t.Parallel()
	primary := Redis(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica := Redis(t, "replicaof "+host+" "+port)
	c := connect(t, primary.Addr)
	eventually(t, "a replica", func() bool { return strings.Contains(c.redis("INFO", "replication"), "state=online") })
	c.redis("SET", "cup", "tea")
	check.Equal(t, c.redis("WAIT", "1", "10000"), "1", "replicas that have it")

	var sentinels []*session
	for range 3 {
		s := Sentinel(t, "sentinel monitor main "+host+" "+port+" 2", "sentinel down-after-milliseconds main 300")
		sentinels = append(sentinels, connect(t, s.Addr))
	}
	for _, s := range sentinels {
		eventually(t, "the sentinels", func() bool { return strings.HasPrefix(s.redis("SENTINEL", "CKQUORUM", "main"), "OK 3") })
	}
	sentinels[0].redis("SUBSCRIBE", "+switch-master")
	primary.Kill()
	check.True(t, strings.Contains(sentinels[0].redisReply(), "+switch-master main"), "what a sentinel announces")
	c = connect(t, replica.Addr)
	check.Equal(t, c.redis("GET", "cup"), "tea", "at the new primary")
	eventually(t, "a new primary", func() bool { return c.redis("SET", "cup", "coffee") == "OK" })
}

// eventually waits for what another process does and does not announce.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !happened(); time.Sleep(5 * time.Millisecond) {
		check.True(t, time.Now().Before(until), "%s did not come", what)
	}
}
