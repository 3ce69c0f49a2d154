package main

import (
	"fmt"
	"sync"
)

// postgresProxyTable is the sidecar when it shares its keys with others.
func postgresProxyTable(scratch string) *table {
	const standard = "ReverseProxy, standard transport"
	s := &shared{open: func() (*database, error) { return openPostgres() }}
	binary := sync.OnceValues(func() (string, error) { return buildOnceward(scratch) })
	sidecar := behind(func(to, _ string) (served, error) {
		program, err := binary()
		if err != nil {
			return nil, err
		}
		if err := s.reset(); err != nil {
			return nil, err
		}
		front, err := startSidecar(program, to, s.server.url, "--accept-scope") // the outcomes that are there have another
		if err != nil {
			return nil, err
		}
		return &chain{front, lent{s.database}}, nil
	})
	reverseProxy := behind(func(to, profile string) (served, error) { return startProcess("ReverseProxy", to, profile) })
	t := &table{
		name: "postgres-proxy", title: fmt.Sprintf("a proxy in front of net/http, %d connections", connections),
		service: postgresService, durable: true,
		rows: []row{
			{name: standard, sample: overHTTP(reverseProxy, false)},
			{name: "onceward proxy, PostgreSQL, fresh", against: standard, sample: overHTTP(sidecar, false)},
			{name: "onceward proxy, PostgreSQL, replay", against: standard, sample: overHTTP(sidecar, true)},
		},
	}
	t.begin = s.begin(t)
	return t
}

// lent is a database behind what is asked, that does not end with it.
type lent struct{ *database }

func (lent) address() string { return "" } // the one in front knows it

func (lent) end() error { return nil }
