package main

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

var (
	transcript = regexp.MustCompile("(?s)<!-- transcript: .*? -->\n```\n(.*?)```")
	moment     = regexp.MustCompile(`(?m)^(Date|Idempotency-Expires): .*$`)
)

// The first run that the README shows is one: its commands are sent to a demo, and their output is compared.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	check.NoError(t, err, "reading the README")
	match := transcript.FindSubmatch(text)
	check.True(t, match != nil, "the README shows no first run")
	shown := strings.Split(string(match[1]), "$ ")[1:]
	check.True(t, len(shown) >= 2, "the README shows %d commands", len(shown))

	p := start(t, "demo", "--listen", "127.0.0.1:0")
	for _, s := range shown {
		command, want, _ := strings.Cut(s, "\n")
		command = strings.ReplaceAll(command, "http://127.0.0.1:8080", p.base)
		out, err := exec.CommandContext(t.Context(), "bash", "-c", command).Output()
		check.NoError(t, err, "%s", command)
		got := moment.ReplaceAllString(strings.ReplaceAll(string(out), "\r", ""), "$1: …")
		check.Equal(t, strings.TrimSpace(got), strings.TrimSpace(moment.ReplaceAllString(want, "$1: …")), "%s", command)
	}
	p.stop(t)
}

var block = regexp.MustCompile("(?s)```\n(.*?)```")

// The service, the proxy in front of it and the order that the README shows are started and sent as they stand, but for the
// ports.
func TestTheREADMEsProxy(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	check.NoError(t, err, "reading the README")
	_, text, found := bytes.Cut(text, []byte("\n## In front of any service\n"))
	check.True(t, found, "the README has no proxy to try")
	blocks := block.FindAllStringSubmatch(string(text), 3)
	check.Equal(t, len(blocks), 3, "blocks: the service, the proxy and the order")
	port := strings.TrimPrefix(vacant(t), "127.0.0.1:")

	python := exec.CommandContext(t.Context(), "bash", "-c", "exec "+strings.ReplaceAll(blocks[0][1], "3000", port))
	check.NoError(t, python.Start(), "starting the service")
	t.Cleanup(func() { _ = python.Process.Kill(); _ = python.Wait() })
	for err := errors.New("not yet"); err != nil; { // the test's own deadline bounds it
		var conn net.Conn
		if conn, err = net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			_ = conn.Close()
		}
	}
	_, flags, found := strings.Cut(blocks[1][1], "./onceward ")
	check.True(t, found, "no proxy in %q", blocks[1][1])
	flags = strings.TrimSpace(strings.ReplaceAll(flags, "3000", port))
	p := start(t, append(strings.Fields(flags), "--listen", "127.0.0.1:0", "--store", filepath.Join(t.TempDir(), "data"))...)
	for range 2 {
		command := strings.ReplaceAll(blocks[2][1], "http://127.0.0.1:8080", p.base)
		out, err := exec.CommandContext(t.Context(), "bash", "-c", command).Output()
		check.NoError(t, err, "%s", command)
		check.True(t, strings.Contains(string(out), "order 1\n"), "the answer:\n%s", out)
	}
	p.stop(t)
}

// vacant is an address on which nobody listens.
func vacant(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.NoError(t, err, "a port")
	defer listener.Close()
	return listener.Addr().String()
}
