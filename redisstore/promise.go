package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

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

// facts are what a server says of itself.
type facts struct {
	info  map[string]string // INFO
	major int               // of the version of Redis that it is, or claims to be
	fsync string            // appendfsync, empty when it may not be asked for
	mode  rueidis.ClientMode
}

func (r rueidisServer) inspect(ctx context.Context) (f facts, err error) {
	text, err := r.client.Do(ctx, r.client.B().Info().Build()).ToString()
	if err != nil {
		return f, err
	}
	f = factsOf(text)
	f.mode = r.client.Mode()
	settings, err := r.client.Do(ctx, r.client.B().ConfigGet().Parameter("appendfsync").Build()).AsStrMap()
	if _, refused := rueidis.IsRedisErr(err); err != nil && !refused {
		return f, err
	}
	f.fsync = settings["appendfsync"] // managed servers and careful users forbid to ask
	return f, nil
}

func (e evalServer) inspect(ctx context.Context, a call) (facts, error) {
	p, err := e.eval(ctx, &script{text: "return {0, redis.call('INFO'), 0}"}, a)
	return factsOf(p.value), err
}

func factsOf(info string) facts {
	f := facts{info: make(map[string]string)}
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			f.info[name] = value
		}
	}
	major, _, _ := strings.Cut(f.info["redis_version"], ".")
	f.major, _ = strconv.Atoi(major) // 0 is too old
	return f
}

// judge returns what the server can keep, and an error if it cannot be used.
func (f *facts) judge(allowEviction bool) (p Promise, err error) {
	policy := f.info["maxmemory_policy"]
	evicts := policy != "noeviction"
	switch {
	case f.major < 6:
		return p, fmt.Errorf("redisstore: the server is Redis %q, use 7 or later, or Valkey", f.info["redis_version"])
	case f.info["role"] != "master":
		return p, fmt.Errorf("%w: redisstore: the server is a replica: connect to the primary", driver.ErrUnavailable)
	case f.info["redis_mode"] == "cluster" && f.mode == rueidis.ClientModeStandalone:
		return p, errors.New("redisstore: the server is a node of a cluster: connect to it as one, with redis+cluster://")
	case evicts && !allowEviction:
		return p, fmt.Errorf("redisstore: maxmemory-policy is %q, which drops keys that are in use, so that operations run twice: "+
			"set it to noeviction, or set Options.AllowEviction (--allow-eviction) if that is acceptable", policy)
	}
	p.Server = "Redis " + f.info["redis_version"]
	if f.info["server_name"] == "valkey" {
		p.Server = "Valkey " + f.info["valkey_version"]
	}
	replicated := f.info["connected_slaves"] != "0" || f.mode == rueidis.ClientModeSentinel || f.info["redis_mode"] == "cluster"
	logged := f.info["aof_enabled"] == "1"
	for _, doubt := range []struct {
		is   bool
		text string
	}{
		{evicts, "maxmemory-policy " + policy + " drops keys that are in use"},
		{!logged, "appendonly is no, so a crash forgets keys"},
		{logged && f.fsync == "", "nobody may ask here whether appendfsync is always, and otherwise a crash forgets the last seconds"},
		{logged && f.fsync != "" && f.fsync != "always", "appendfsync is " + f.fsync + ", so a crash forgets the last seconds"},
		{replicated, "it is replicated, and a failover forgets what had not arrived yet"},
	} {
		if doubt.is {
			p.Doubts = append(p.Doubts, doubt.text)
		}
	}
	return p, nil
}
