package main

import (
	"errors"
	"fmt"
	"time"
)

// httpTable is a handler that answers with 200 bytes, over loopback TCP. Servers start anew for each sample, so that none
// pays for the records of another round; connections and pools are warmed up before anything is timed.
func httpTable() *table {
	const bare, fiber = "net/http, bare", "fiber, bare"
	return &table{
		name:  "http",
		title: fmt.Sprintf("HTTP over loopback, %d connections", connections),
		rows: []row{
			{name: bare, sample: overHTTP(server("net/http"), false)},
			{name: "net/http, body read and hashed", against: bare, sample: overHTTP(server("net/http, hashing"), false)},
			{
				name: "oncehttp, fresh", against: bare, sample: overHTTP(server("oncehttp"), false),
				targets: []target{speed(0.75), extraAllocations(16)},
			},
			{
				name: "oncehttp, replay", against: bare, sample: overHTTP(server("oncehttp"), true),
				targets: []target{speed(0.88), extraAllocations(16)},
			},
			{name: fiber, sample: overHTTP(server("fiber"), false)},
			{name: "fiber idempotency, fresh", against: fiber, sample: overHTTP(server("fiber idempotency"), false)},
			{name: "fiber idempotency, replay", against: fiber, sample: overHTTP(server("fiber idempotency"), true)},
		},
	}
}

// served is what takes requests: a server, or a proxy and the server behind it.
type served interface {
	address() string
	used() (usage, error)
	end() error
}

// starter starts what is served, which may be able to write a CPU profile.
type starter func(profile string) (served, error)

func server(name string) starter {
	return func(profile string) (served, error) { return startProcess(name, "", profile) }
}

func overHTTP(start starter, replay bool) func(time.Duration, string) (sample, error) {
	return func(length time.Duration, profile string) (s sample, err error) {
		there, err := start(profile)
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, there.end()) }()
		l, err := dial(there.address(), replay)
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, l.close()) }()
		if replay {
			if err := l.prepare(); err != nil {
				return s, err
			}
		}
		if _, _, err := l.run(length / 4); err != nil {
			return s, err
		}
		return l.sample(there, length)
	}
}

func (l *load) sample(there served, length time.Duration) (s sample, err error) {
	before, err := there.used()
	if err != nil {
		return s, err
	}
	mine := used()
	s.ops, s.elapsed, err = l.run(length)
	if err != nil {
		return s, err
	}
	mineAfter := used()
	after, err := there.used()
	if err != nil {
		return s, err
	}
	ran := int(after.Runs - before.Runs)
	if want := map[bool]int{false: s.ops, true: 0}[l.replay]; ran != want {
		return s, fmt.Errorf("the handler ran %d times for %d requests, and had to run %d times", ran, s.ops, want)
	}
	if after.CPU != 0 {
		s.cpu = after.CPU - before.CPU + mineAfter.CPU - mine.CPU
	}
	s.server, s.logged = after.Server-before.Server, after.Logged-before.Logged
	s.allocs = after.Allocs - before.Allocs
	return s, nil
}
