package redisstore

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// eventually waits for what another process does and does not announce.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !happened(); time.Sleep(10 * time.Millisecond) {
		check.True(t, time.Now().Before(end), "%s did not come", what)
	}
}

func says(t *testing.T, url string, text string, command ...string) func() bool {
	t.Helper()
	client := clientOf(t, url)
	return func() bool {
		answer, err := client.Do(bg, client.B().Arbitrary(command...).Build()).ToString()
		return err == nil && strings.Contains(answer, text)
	}
}

// What a failover costs, on purpose: an acquisition that had not reached the replica is granted to somebody else. The first
// owner learns it at the end, and the promise has said so at the beginning.
func TestFailover(t *testing.T) {
	primary := testsvc.Redis(t)
	host, port, _ := net.SplitHostPort(primary.Addr)
	replica := testsvc.Redis(t, "replicaof "+host+" "+port)
	eventually(t, "a replica", says(t, primary.URL, "state=online", "INFO", "replication"))
	var sentinels []string
	for range 3 {
		s := testsvc.Sentinel(t, "sentinel monitor main "+host+" "+port+" 2", "sentinel down-after-milliseconds main 500",
			"sentinel failover-timeout main 3000") // a vote that nobody wins is repeated after twice that
		sentinels = append(sentinels, s.Addr)
	}
	for _, addr := range sentinels {
		eventually(t, "the other sentinels", says(t, "redis://"+addr, "OK 3 ", "SENTINEL", "CKQUORUM", "main"))
	}
	s := openAt(t, "redis+sentinel://"+strings.Join(sentinels, ",")+"/main", nil)
	check.True(t, len(s.Promise().Doubts) > 0, "Sentinel is taken for durable: %s", s.Promise())

	kept, lost, first, second := newID(), newID(), claim(), claim()
	acquire := func(id driver.ID, c driver.Claim) (driver.Verdict, error) {
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		g, err := s.Acquire(ctx, id, c)
		return g.Verdict, err
	}
	verdict, err := acquire(kept, first)
	check.NoError(t, err, "Acquire")
	check.Equal(t, verdict, driver.Acquired, "the first")
	wait := redis(t, clientOf(t, primary.URL), "WAIT", "1", "10000")
	reached, err := wait.AsInt64()
	check.NoError(t, err, "WAIT")
	check.Equal(t, reached, 1, "replicas that have it")
	replica.Pause()
	redis(t, clientOf(t, primary.URL), "CLIENT", "KILL", "TYPE", "replica") // else the kernel keeps for it what comes now
	verdict, err = acquire(lost, first)
	check.NoError(t, err, "Acquire")
	check.Equal(t, verdict, driver.Acquired, "the first")
	primary.Kill()
	replica.Resume()

	eventually(t, "the new primary", func() bool {
		verdict, err = acquire(lost, second)
		return err == nil
	})
	check.Equal(t, verdict, driver.Acquired, "the second owner of a key that the failover forgot")
	verdict, err = acquire(kept, second)
	check.NoError(t, err, "Acquire")
	check.Equal(t, verdict, driver.Running, "a key that had reached the replica")
	check.ErrorIs(t, s.Complete(bg, lost, first.Owner, sampled), driver.ErrLost, "Complete by the forgotten owner")
	check.NoError(t, s.Complete(bg, lost, second.Owner, sampled), "Complete by the second owner")
	check.NoError(t, s.Complete(bg, kept, first.Owner, sampled), "Complete by the owner that was not forgotten")
}

// One node that serves all slots is enough to see that each call stays in one.
func TestCluster(t *testing.T) {
	server := testsvc.Redis(t, "cluster-enabled yes")
	client := clientOf(t, server.URL)
	redis(t, client, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	eventually(t, "the cluster", says(t, server.URL, "cluster_state:ok", "CLUSTER", "INFO"))
	_, err := Open(server.URL, &Options{Logger: quiet})
	check.True(t, err != nil && strings.Contains(err.Error(), "redis+cluster://"), "a node as if it were all: %v", err)

	s := openAt(t, "redis+cluster://"+server.Addr, nil)
	check.True(t, len(s.Promise().Doubts) > 0, "Cluster is taken for durable: %s", s.Promise())
	for range 20 {
		id, c := newID(), claim()
		g, err := s.Acquire(bg, id, c)
		check.NoError(t, err, "Acquire")
		check.Equal(t, g.Verdict, driver.Acquired, "a new key")
		check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete")
		g, err = s.Acquire(bg, id, claim())
		check.NoError(t, err, "Acquire again")
		check.Equal(t, g.Verdict, driver.Done, "a key that is done")
		for call, err := range every(s, newID(), c) {
			check.True(t, err == nil || errors.Is(err, driver.ErrLost), "%s: %v", call, err)
		}
	}
	_, _, err = s.List(bg, driver.Query{})
	check.True(t, err != nil, "the list of a cluster is shown as if it were whole")
}

// Every primary is asked, whichever node is named.
func TestEveryNodeOfAClusterIsAsked(t *testing.T) {
	const setting = "cluster-enabled yes"
	nodes := []*testsvc.Server{testsvc.Redis(t, setting), testsvc.Redis(t, setting), testsvc.Redis(t, setting)}
	first, second, replica := clientOf(t, nodes[0].URL), clientOf(t, nodes[1].URL), clientOf(t, nodes[2].URL)
	redis(t, first, "CLUSTER", "ADDSLOTSRANGE", "0", "8191")
	redis(t, second, "CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
	redis(t, second, "CONFIG", "SET", "appendonly", "no")
	for _, other := range nodes[1:] {
		host, port, _ := net.SplitHostPort(other.Addr)
		redis(t, first, "CLUSTER", "MEET", host, port)
	}
	m := redis(t, first, "CLUSTER", "MYID")
	name, err := m.ToString()
	check.NoError(t, err, "CLUSTER MYID")
	eventually(t, "the first node", says(t, nodes[2].URL, name, "CLUSTER", "NODES"))
	redis(t, replica, "CLUSTER", "REPLICATE", name)
	for _, node := range nodes {
		eventually(t, "the cluster", says(t, node.URL, "cluster_state:ok", "CLUSTER", "INFO"))
		eventually(t, "the replica", says(t, node.URL, "slave "+name, "CLUSTER", "NODES"))
	}
	writes := openAt(t, "redis+cluster://"+nodes[0].Addr, nil)
	eventually(t, "the replica in the list of nodes, which a write brings there", func() bool {
		_, err := writes.Acquire(bg, newID(), claim())
		check.NoError(t, err, "Acquire")
		return len(clientOf(t, "redis+cluster://"+nodes[0].Addr).Nodes()) == len(nodes)
	})
	for range 10 { // any of them might be asked
		for _, node := range nodes {
			s := openAt(t, "redis+cluster://"+node.Addr, nil)
			check.True(t, strings.Contains(s.Promise().String(), "appendonly is no"), "what the second node does is unknown: %s", s.Promise())
		}
	}
	redis(t, second, "CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	for range 10 {
		_, err := Open("redis+cluster://"+nodes[0].Addr, &Options{Logger: quiet})
		check.True(t, err != nil && strings.Contains(err.Error(), "allkeys-lru"), "a cluster of which a node evicts: %v", err)
	}
	nodes[1].Pause()
	defer nodes[1].Resume()
	s, err := Open("redis+cluster://"+nodes[0].Addr, &Options{Logger: quiet})
	check.NoError(t, err, "opening a cluster of which a node is silent")
	defer s.Close()
	check.True(t, strings.Contains(s.Promise().String(), nodes[1].Addr+" did not answer"), "a node that is silent: %s", s.Promise())
}
