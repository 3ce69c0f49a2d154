package main

import (
	"os"
	"os/exec"
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
