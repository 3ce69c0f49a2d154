package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// TestMain lets the test binary be a child, which the rows start by the name of their own program.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-as" {
		main()
		return
	}
	stored, batch = 500, 5_000
	// Otherwise the race detector lets each child sleep for a second at its end.
	if err := os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// Each row checks what it gets: that fresh keys run and others are replayed.
func TestEveryRowWorks(t *testing.T) {
	scratch := t.TempDir()
	for _, table := range slices.Concat([]*table{
		storeTable(1), storeTable(2), engineTable(), httpTable(), diskTable(scratch), proxyTable(scratch),
		redisTable(scratch), syncedRedisTable(scratch), redisHTTPTable(scratch), postgresProxyTable(scratch),
	}, postgresTables().all(), mariadbTables().all()) {
		_, lines, err := table.measure(config{rounds: 1, length: time.Millisecond})
		check.NoError(t, err, "%s", table.name)
		check.Equal(t, len(lines), len(table.rows), "lines of %s", table.name)
	}
	left, err := filepath.Glob(filepath.Join(scratch, "*-*"))
	check.NoError(t, err, "what is left")
	check.Equal(t, len(left), 0, "stores, logs and servers that are left: %v", left)
}

func TestStartIsMeasured(t *testing.T) {
	header, lines, err := startTable(t.TempDir(), 300, 600).measure(config{})
	check.NoError(t, err, "opening stores")
	check.Equal(t, len(lines), 4, "a line for each size and each way to end")
	for _, line := range lines {
		check.Equal(t, len(line), len(header), "cells of %v", line)
	}
}

func TestMemoryIsMeasured(t *testing.T) {
	const size = 1 << 10
	var blocks [][]byte
	h, err := holding(1000, func() error {
		for range 1000 {
			blocks = append(blocks, make([]byte, size))
		}
		return nil
	}, func() { blocks = nil })
	check.NoError(t, err, "holding")
	check.True(t, h.heap > size && h.heap < 1.2*size, "a block of %d bytes holds %.0f", size, h.heap)
	check.Equal(t, h.goroutines, 0, "goroutines")

	h, err = blockedCallers()
	check.NoError(t, err, "blocked callers")
	check.Equal(t, h.goroutines, 1, "goroutines of a blocked caller")
}

func TestReplayThatRunsIsFound(t *testing.T) {
	for name, start := range map[string]starter{
		"a server": server("net/http"),
		"a proxy":  behind(func(to, profile string) (served, error) { return startProcess("ReverseProxy", to, profile) }),
	} {
		_, err := overHTTP(start, true)(time.Millisecond, "")
		check.True(t, err != nil, "%s that replays nothing passes for one that does", name)
	}
}

func TestFileSystem(t *testing.T) {
	if _, err := os.Stat("/proc/self/mounts"); err != nil {
		return // nothing says on which one a directory is
	}
	check.Equal(t, fileSystem("/proc/self"), "proc", "the one below /proc")
	check.NoError(t, wantDisk("/proc"), "not a disk, but nobody measures there")
	if fileSystem("/dev/shm") == "tmpfs" {
		check.True(t, wantDisk("/dev/shm/x") != nil, "a directory in memory passes for one on a disk")
	}
}

func TestCPUOfAProcess(t *testing.T) {
	const stat = "4711 (a) b (c) S 1 4711 4711 0 -1 4194560 900 0 0 0 170 30 0 0 20 0 9 0 100 1 1"
	cpu, err := cpuIn(stat)
	check.NoError(t, err, "a line of proc_pid_stat(5)")
	check.Equal(t, cpu, 2*time.Second, "user and system")
	for _, other := range []string{"", "4711 (a) S 1", strings.ReplaceAll(stat, "30", "x")} {
		_, err := cpuIn(other)
		check.True(t, err != nil, "%q was read as a line of proc_pid_stat(5)", other)
	}
}

func TestUnexpectedAnswersAreFound(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"another status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) },
		"chunks": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			_ = http.NewResponseController(w).Flush()
		},
		"too large": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, "%9000d", 1)
		},
	} {
		listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		check.NoError(t, err, "listen")
		server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(listener) }()
		l, err := dial(listener.Addr().String(), false)
		check.NoError(t, err, "dial")
		_, _, err = l.run(time.Minute)
		check.True(t, err != nil, "%s was taken for an answer", name)
		check.NoError(t, l.close(), "closing connections")
		check.NoError(t, server.Close(), "closing the server")
	}
}
