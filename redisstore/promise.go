package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
)

// Promise is what a server can keep.
type Promise struct {
	// Server is its name and version, such as "Redis 7.0.15".
	Server string
	// Doubts are the reasons why nothing is guaranteed. Without any the server is durable.
	Doubts []string
}

// String is the promise in a sentence.
func (p Promise) String() string {
	if len(p.Doubts) == 0 {
		return "durable: under hold an operation starts at most once per key"
	}
	return "best effort, an operation may run again: " + strings.Join(p.Doubts, "; ")
}

// facts are what a server says of itself, or a node of a cluster.
type facts struct {
	info   map[string]string // INFO
	config map[string]string // CONFIG GET, empty when it may not be asked for
	mode   rueidis.ClientMode
	silent string // the address of a node that did not answer
}

// settings are what CONFIG GET is asked for.
var settings = [...]string{"appendfsync", "no-appendfsync-on-rewrite", "proto-max-bulk-len"}

// inspect asks the server, or each primary of a cluster.
func (r rueidisServer) inspect(ctx context.Context) (all []facts, err error) {
	if r.client.Mode() != rueidis.ClientModeCluster {
		f, err := ask(ctx, r.client)
		f.mode = r.client.Mode()
		return []facts{f}, err
	}
	err = fmt.Errorf("%w: redisstore: the cluster has no primary: wait until it has", driver.ErrUnavailable)
	answered := false
	nodes := r.client.Nodes()
	for _, addr := range slices.Sorted(maps.Keys(nodes)) {
		f, failed := ask(ctx, nodes[addr])
		f.mode = rueidis.ClientModeCluster
		switch {
		case failed != nil:
			all, err = append(all, facts{silent: addr}), failed
		case f.info["role"] == "master":
			all, answered = append(all, f), true
		}
	}
	if !answered {
		return nil, err
	}
	return all, nil
}

func ask(ctx context.Context, node rueidis.Client) (f facts, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience/4) // the other nodes are to be asked, too
	defer cancel()
	text, err := node.Do(ctx, node.B().Info().Build()).ToString()
	if err != nil {
		return f, err
	}
	f = factsOf(text)
	var questions rueidis.Commands
	for _, name := range settings { // Redis 6 knows no more than one in a question
		questions = append(questions, node.B().ConfigGet().Parameter(name).Build())
	}
	for _, answer := range node.DoMulti(ctx, questions...) {
		found, err := answer.AsStrMap()
		if _, refused := rueidis.IsRedisErr(err); err != nil && !refused { // managed servers and careful users forbid to ask
			return f, err
		}
		maps.Copy(f.config, found)
	}
	return f, nil
}

func (e evalServer) inspect(ctx context.Context, a call) ([]facts, error) {
	p, err := e.eval(ctx, &script{text: "return {0, redis.call('INFO'), 0}"}, a)
	return []facts{factsOf(p.value)}, err
}

func factsOf(info string) facts {
	f := facts{info: make(map[string]string), config: make(map[string]string)}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			f.info[name] = value
		}
	}
	return f
}

// major is of the version of Redis that it is, or claims to be; 0 is too old.
func (f *facts) major() int {
	major, _, _ := strings.Cut(f.info["redis_version"], ".")
	n, _ := strconv.Atoi(major)
	return n
}

// usualLargest is what proto-max-bulk-len is by default.
const usualLargest = 512 << 20

// largest is how many bytes the server reads in one piece.
func (f *facts) largest() int {
	n, _ := strconv.Atoi(f.config["proto-max-bulk-len"])
	return cmp.Or(n, usualLargest)
}

// judge returns what the servers can keep, and an error if one of them cannot be used.
func judge(all []facts, allowEviction bool) (p Promise, err error) {
	for _, f := range all {
		doubts := []string{f.silent + " did not answer, so nobody knows what it does"}
		if f.silent == "" {
			if err := f.refuse(allowEviction); err != nil {
				return Promise{}, err
			}
			p.Server, doubts = cmp.Or(p.Server, f.server()), f.doubts()
		}
		for _, doubt := range doubts {
			if !slices.Contains(p.Doubts, doubt) {
				p.Doubts = append(p.Doubts, doubt)
			}
		}
	}
	return p, nil
}

func (f *facts) evicts() bool { return f.info["maxmemory_policy"] != "noeviction" }

func (f *facts) refuse(allowEviction bool) error {
	switch {
	case f.major() < 6:
		return fmt.Errorf("redisstore: the server is Redis %q, use 7 or later, or Valkey", f.info["redis_version"])
	case f.info["role"] != "master":
		return fmt.Errorf("%w: redisstore: the server is a replica: connect to the primary", driver.ErrUnavailable)
	case f.info["redis_mode"] == "cluster" && f.mode == rueidis.ClientModeStandalone:
		return errors.New("redisstore: the server is a node of a cluster: connect to it as one, with redis+cluster://")
	case f.evicts() && !allowEviction:
		return fmt.Errorf("redisstore: maxmemory-policy is %q, which drops keys that are in use, so that operations run twice: "+
			"set it to noeviction, or set Options.AllowEviction (--allow-eviction) if that is acceptable", f.info["maxmemory_policy"])
	default:
		return nil
	}
}

func (f *facts) server() string {
	if f.info["server_name"] == "valkey" {
		return "Valkey " + f.info["valkey_version"]
	}
	return "Redis " + f.info["redis_version"]
}

func (f *facts) doubts() (doubts []string) {
	replicated := f.info["connected_slaves"] != "0" || f.mode == rueidis.ClientModeSentinel || f.info["redis_mode"] == "cluster"
	logged, fsync := f.info["aof_enabled"] == "1", f.config["appendfsync"]
	// Until its first rewrite has ended, a log that was turned on lacks what was there before.
	rewrites := f.info["aof_rewrite_in_progress"] == "1" || f.info["aof_rewrite_scheduled"] == "1"
	begins := logged && rewrites && f.info["aof_base_size"] == "0"
	for _, doubt := range []struct {
		is   bool
		text string
	}{
		{f.evicts(), "maxmemory-policy " + f.info["maxmemory_policy"] + " drops keys that are in use"},
		{!logged, "appendonly is no, so a crash forgets keys"},
		{begins, "the append-only file is being written for the first time, and until that has ended a crash forgets keys"},
		{logged && fsync == "", "nobody may ask here whether appendfsync is always, and otherwise a crash forgets the last seconds"},
		{logged && fsync != "" && fsync != "always", "appendfsync is " + fsync + ", so a crash forgets the last seconds"},
		{
			logged && f.config["no-appendfsync-on-rewrite"] == "yes",
			"no-appendfsync-on-rewrite is yes, so a crash while the append-only file is rewritten forgets the last seconds",
		},
		{replicated, "it is replicated, and a failover forgets what had not arrived yet"},
	} {
		if doubt.is {
			doubts = append(doubts, doubt.text)
		}
	}
	return doubts
}

// Clock is the time by which the server judges leases. It is for people who compare clocks.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	p, err := s.redis.eval(ctx, s.scripts.clock, s.noID())
	if err != nil {
		return time.Time{}, s.failure(err)
	}
	seconds, err := strconv.ParseInt(p.value, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("redisstore: TIME answers %q seconds: %w", p.value, err)
	}
	return time.Unix(seconds, p.left*int64(time.Microsecond)), nil
}
