package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// redisTable is redisstore against what is taught, and against the least that takes a key and keeps an outcome. Each sample
// has a Redis of its own.
func redisTable(scratch string) *table {
	t := &table{
		name: "redis", title: "redisstore, Redis without a disk; fresh is one Acquire and one Complete",
		service: redisService,
	}
	for _, at := range []struct {
		callers               int
		fresh, replay, cached []target
	}{
		{callers: 1},
		{callers: 16, fresh: []target{speed(2), allocations(3)}},
		{
			callers: 128, fresh: []target{speed(4), ofCeiling(0.9), allocations(3)},
			replay: []target{speed(4.5)}, cached: []target{speed(25)},
		},
		{callers: 512},
	} {
		name := func(what string) string { return fmt.Sprintf("%s, callers: %d", what, at.callers) }
		sample := func(open redisClient, replay bool) func(time.Duration, string) (sample, error) {
			return byCallers(at.callers, redisWorld(scratch, open, replay))
		}
		fresh, ceiling, replay := name("naive, fresh"), name("SET NX + SET"), name("naive, replay")
		t.rows = append(t.rows,
			row{name: fresh, sample: sample(openNaive, false)},
			row{name: ceiling, against: fresh, sample: sample(openCeiling, false)},
			row{
				name: name("redisstore, fresh"), against: fresh, ceiling: ceiling,
				sample: sample(openRedisstore(false), false), targets: at.fresh,
			},
			row{name: name("redisstore on go-redis, fresh"), against: fresh, sample: sample(openFromEval, false)},
			row{name: replay, sample: sample(openNaive, true)},
			row{name: name("redisstore, replay"), against: replay, sample: sample(openRedisstore(false), true), targets: at.replay},
			row{
				name: name("redisstore, replay, CacheCompleted"), against: replay,
				sample: sample(openRedisstore(true), true), targets: at.cached,
			},
		)
	}
	return t
}

// syncedRedisTable is on the only Redis for which redisstore promises something.
func syncedRedisTable(scratch string) *table {
	t := &table{
		name: "redis-synced", title: "redisstore, appendfsync always; fresh is one Acquire and one Complete",
		service: redisService, durable: true,
	}
	for _, callers := range []int{16, 128} {
		name := func(what string) string { return fmt.Sprintf("%s, synced, callers: %d", what, callers) }
		sample := func(open redisClient) func(time.Duration, string) (sample, error) {
			return byCallers(callers, redisWorld(scratch, open, false, "--appendonly", "yes", "--appendfsync", "always"))
		}
		fresh, ceiling := name("naive, fresh"), name("SET NX + SET")
		t.rows = append(t.rows,
			row{name: fresh, sample: sample(openNaive)},
			row{name: ceiling, against: fresh, sample: sample(openCeiling)},
			row{name: name("redisstore, fresh"), against: fresh, ceiling: ceiling, sample: sample(openRedisstore(false))},
		)
	}
	return t
}

// redisRecordTable is what one key with its outcome takes of the memory of Redis.
func redisRecordTable(scratch string) *table {
	return &table{
		name: "redis-memory", title: fmt.Sprintf("a key with an outcome of %d bytes, by MEMORY USAGE", len(theAnswer)), service: redisService,
		custom: func() (header []string, lines [][]string, err error) {
			header = []string{"row", "B", "target"}
			for _, kind := range []struct {
				name    string
				open    redisClient
				targets []target
			}{
				{"naive", openNaive, nil},
				{"SET NX + SET", openCeiling, nil},
				{"redisstore", openRedisstore(false), []target{size(350)}},
			} {
				n, err := redisBytes(scratch, kind.open)
				if err != nil {
					return nil, nil, fmt.Errorf("%s: %w", kind.name, err)
				}
				lines = append(lines, []string{kind.name, fmt.Sprintf("%.0f", n), judge(kind.targets, figures{bytes: n})})
			}
			return header, lines, nil
		},
	}
}

func redisBytes(scratch string, open redisClient) (n float64, err error) {
	server, err := startRedis(scratch)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.end()) }()
	p, endClient, err := open(context.Background(), server.addr)
	if err != nil {
		return 0, err
	}
	defer endClient()
	if err := p.fresh(0); err != nil {
		return 0, err
	}
	key, err := server.ask("RANDOMKEY") // there is no other
	if err != nil {
		return 0, err
	}
	text, err := server.ask("MEMORY USAGE " + key)
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(text, 64)
}

// redisClient opens what is measured on the Redis at that address.
type redisClient func(ctx context.Context, addr string) (p freshAndReplay, end func(), err error)

// freshAndReplay are the operations on the nth key.
type freshAndReplay interface {
	fresh(n int) error
	replay(n int) error
}

func redisWorld(scratch string, open redisClient, replay bool, settings ...string) func() (world, error) {
	return func() (w world, err error) {
		server, err := startRedis(scratch, settings...)
		if err != nil {
			return w, err
		}
		ctx, cancel := context.WithCancel(context.Background()) // the context of a request can end
		p, endClient, err := open(ctx, server.addr)
		if err != nil {
			cancel()
			return w, errors.Join(err, server.end())
		}
		w = world{server: server, do: p.fresh, close: func() {
			cancel()
			endClient()
			_ = server.end() // what was measured is over
		}}
		if !replay {
			return w, nil
		}
		w.do = func(n int) error { return p.replay(n % stored) }
		// CacheCompleted looks for a key in its memory after it has seen it done, and has it there from the next time on.
		if err := errors.Join(fill(p.fresh), fill(p.replay), fill(p.replay)); err != nil {
			w.close()
			return w, err
		}
		return w, nil
	}
}
