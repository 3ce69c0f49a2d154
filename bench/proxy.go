package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// proxyTable is a proxy in front of the cheapest server, each in a process of its own.
func proxyTable(scratch string) *table {
	const standard = "ReverseProxy, standard transport"
	reverseProxy := func(server string) starter {
		return behind(func(to, profile string) (served, error) { return startProcess(server, to, profile) })
	}
	t := &table{
		name:    "proxy",
		title:   fmt.Sprintf("a proxy in front of net/http, %d connections", connections),
		durable: true,
		rows: []row{
			{name: standard, sample: overHTTP(reverseProxy("ReverseProxy"), false)},
			{name: "ReverseProxy, tuned transport", against: standard, sample: overHTTP(reverseProxy("ReverseProxy, tuned"), false)},
		},
	}
	binary := sync.OnceValues(func() (string, error) { return buildOnceward(scratch) })
	for _, kind := range []struct {
		name   string
		disk   bool
		replay bool
		least  float64
	}{
		{"onceward proxy, memory, fresh", false, false, 0.8},
		{"onceward proxy, disk, fresh", true, false, 0.6},
		{"onceward proxy, memory, replay", false, true, 2.8},
		{"onceward proxy, disk, replay", true, true, 2.8},
	} {
		sidecar := func(flags ...string) starter {
			return behind(func(to, _ string) (served, error) {
				program, err := binary()
				if err != nil {
					return nil, err
				}
				if !kind.disk {
					return startSidecar(program, to, "memory:", flags...)
				}
				dir, err := os.MkdirTemp(scratch, "sidecar-")
				if err != nil {
					return nil, err
				}
				return startSidecar(program, to, dir, flags...)
			})
		}
		t.rows = append(t.rows,
			row{name: kind.name, against: standard, sample: overHTTP(sidecar(), kind.replay), targets: []target{speed(kind.least)}},
			row{
				name: kind.name + ", no access log", against: standard,
				sample: overHTTP(sidecar("--log-level", "warn"), kind.replay),
			},
		)
	}
	return t
}

// chain is a proxy and the server that it passes requests on to, or a server and its Redis.
type chain struct {
	served // the one that is asked

	upstream served
}

// behind starts the cheapest server, and a proxy in front of it.
func behind(proxy func(to, profile string) (served, error)) starter {
	return func(profile string) (served, error) {
		upstream, err := startProcess("net/http", "", "")
		if err != nil {
			return nil, err
		}
		front, err := proxy(upstream.addr, profile)
		if err != nil {
			return nil, errors.Join(err, upstream.end())
		}
		return &chain{front, upstream}, nil
	}
}

// used adds up CPU, and tells the allocations of the first only.
func (c *chain) used() (usage, error) {
	u, err := c.served.used()
	if err != nil {
		return u, err
	}
	behind, err := c.upstream.used()
	if u.CPU != 0 {
		u.CPU += behind.CPU
	}
	u.Server += behind.Server
	u.Logged += behind.Logged
	u.Runs += behind.Runs // one of them has the handler
	return u, err
}

func (c *chain) end() error { return errors.Join(c.served.end(), c.upstream.end()) }
