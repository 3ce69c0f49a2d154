package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

func TestRowsOnRedisCheckWhatTheyGet(t *testing.T) {
	for name, open := range map[string]redisClient{
		"naive": openNaive, "SET NX + SET": openCeiling, "redisstore": openRedisstore(false),
		"redisstore, CacheCompleted": openRedisstore(true), "redisstore on go-redis": openFromEval,
	} {
		server, err := startRedis(t.TempDir())
		check.NoError(t, err, "a Redis")
		t.Cleanup(func() { check.NoError(t, server.end(), "the end of Redis") })
		p, end, err := open(t.Context(), server.addr)
		check.NoError(t, err, "%s", name)
		check.True(t, p.replay(1) != nil, "%s: a fresh key passes for a done one", name)
		check.NoError(t, p.fresh(2), "%s: a fresh key", name)
		check.NoError(t, p.replay(2), "%s: the done key", name)
		check.True(t, p.fresh(2) != nil, "%s: a done key passes for a fresh one", name)
		end()
	}
}

func TestRedisEndsWithItsProgram(t *testing.T) {
	server, err := startRedis(t.TempDir())
	check.NoError(t, err, "a Redis")
	check.NoError(t, server.running.in.Close(), "what the system does when the program is killed")
	_, err = server.answers.ReadByte()
	check.True(t, err != nil, "Redis is still there")
	check.NoError(t, server.end(), "the end of what has ended")
}

func TestBytesInRedisAreMeasured(t *testing.T) {
	header, lines, err := redisRecordTable(t.TempDir()).measure(config{})
	check.NoError(t, err, "MEMORY USAGE")
	check.Equal(t, len(lines), 3, "lines")
	check.Equal(t, len(lines[0]), len(header), "cells of %v", lines[0])
}

func TestRedisThatDoesNotStart(t *testing.T) {
	scratch := t.TempDir()
	_, err := startRedis(scratch, "--no-such-setting", "1")
	check.True(t, err != nil && strings.Contains(err.Error(), "no-such-setting"), "the error %v does not show what Redis says", err)
	left, err := filepath.Glob(filepath.Join(scratch, "*"))
	check.NoError(t, err, "what is left")
	check.Equal(t, len(left), 0, "directories that are left: %v", left)

	t.Setenv("PATH", "")
	err = redisTable(scratch).want(scratch)
	check.True(t, err != nil && strings.Contains(err.Error(), "apt-get install"), "the error %v does not say what to run", err)
}

func TestRedisIsAsked(t *testing.T) {
	server, err := startRedis(t.TempDir())
	check.NoError(t, err, "a Redis")
	t.Cleanup(func() { check.NoError(t, server.end(), "the end of Redis") })
	for _, c := range []struct{ command, want string }{
		{"PING", "PONG"}, {"SET a 17", "OK"}, {"GET a", "17"}, {"STRLEN a", "2"}, {"SET a \"\"", "OK"}, {"GET a", ""},
	} {
		got, err := server.ask(c.command)
		check.NoError(t, err, "%s", c.command)
		check.Equal(t, got, c.want, "the answer to %s", c.command)
	}
	for _, command := range []string{"GET nothing", "LPUSH a 1"} {
		_, err := server.ask(command)
		check.True(t, err != nil, "%s has an answer", command)
	}
	before, err := server.used()
	check.NoError(t, err, "what is used")
	check.True(t, before.CPU > 0 && before.Server == before.CPU, "CPU %v, of which Redis took %v", before.CPU, before.Server)
}
