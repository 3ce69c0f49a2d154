package cli

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/control"
	"github.com/onceward/onceward/diskstore"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// eachAudited makes what is told of with a trail, and then runs the commands on the files, or by the socket.
func eachAudited(t *testing.T, tell, test func(t *testing.T, p *place)) {
	t.Helper()
	for _, way := range []string{"files", "socket"} {
		t.Run(way, func(t *testing.T) {
			p := &place{dir: filepath.Join(t.TempDir(), "data")}
			store, err := diskstore.Open(p.dir, &diskstore.Options{FreeSpaceFloor: -1, Ballast: -1, Audit: driver.AuditTransitions})
			check.NoError(t, err, "Open")
			guard, err := onceward.New(store, &onceward.Options{Node: "node-1"})
			check.NoError(t, err, "New")
			server, err := control.Serve(p.dir, control.NewDesk(store, nil), slog.New(slog.DiscardHandler))
			check.NoError(t, err, "Serve")
			p.held, p.guard = store, guard
			end := func() {
				check.NoError(t, server.Close(), "closing the socket")
				check.NoError(t, guard.Close(context.Background()), "closing the guard")
				check.NoError(t, store.Close(), "closing the store")
			}
			tell(t, p)
			if way == "files" {
				end()
				p.held, p.guard = nil, nil
			} else {
				t.Cleanup(end)
			}
			test(t, p)
		})
	}
}

func TestAudit(t *testing.T) {
	const key, number = "0198c0de-order", "12345678" // the second one looks like digits of an id
	id := ""
	eachAudited(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		id = p.id(t, "in-doubt")
		p.ok(t, "keys", "resolve", id[:12], "--release", "--reason", "it did not happen")
		p.post(t, key)
		p.post(t, number)
	}, func(t *testing.T, p *place) {
		for _, what := range []string{id, id[:12], strings.ToUpper(id[:8]), doubt} {
			out := p.ok(t, "audit", what)
			holds(t, out, "id         "+id+"\n", "operation  POST /orders\n", "key tag    "+control.KeyTag(doubt)+"\n")
			holds(t, out, "TIME", actor(), "it did not happen")
			check.Equal(t, stepsOf(out), "acquired given-up resolved", "steps of %s", what)
		}
		check.Equal(t, stepsOf(p.ok(t, "audit", key)), "acquired completed", "steps of a key")
		check.Equal(t, stepsOf(p.ok(t, "audit", number)), "acquired completed", "steps of a key that looks like an id")
		all := p.ok(t, "audit", "--since", "1h")
		check.Equal(t, stepsOf(all), "acquired given-up resolved acquired completed acquired completed", "all steps")
		holds(t, all, "OPERATION", id[:12])
		check.True(t, !strings.Contains(all, key) && !strings.Contains(all, "secret"), "a key or an answer is shown: %s", all)
		check.Equal(t, stepsOf(p.ok(t, "audit", "--since", "1h", "--operation", "POST /refunds")), "", "steps of another operation")
		holds(t, p.ok(t, "audit", "no such key"), "nothing is told", "--audit transitions")
		entries := decoded[[]map[string]any](t, p.ok(t, "audit", id, "--json"))
		check.Equal(t, len(entries), 3, "entries")
		check.Equal(t, entries[2]["actor"], any(actor()), "the actor")
		check.Equal(t, p.ok(t, "audit", "no such key", "--json"), "[]\n", "JSON of nothing")
		code, _, errs := p.run(t, "audit", "--since", "1h", "--limit", "2")
		check.Equal(t, code, 0, "exit code")
		holds(t, errs, "oldest 2", "--limit")
	})
}

// stepsOf are the words for steps in what audit prints.
func stepsOf(out string) string {
	var steps []string
	for _, word := range strings.Fields(out) {
		switch word {
		case "acquired", "completed", "given-up", "released", "resolved":
			steps = append(steps, word)
		}
	}
	return strings.Join(steps, " ")
}

// It is most of all at night, when the proxy is down, that somebody resolves a key.
func TestOperatorOfFilesIsToldOf(t *testing.T) {
	p := &place{dir: filepath.Join(t.TempDir(), "data")}
	p.post(t, doubt) // without a trail
	id := p.id(t, "in-doubt")
	p.ok(t, "keys", "resolve", id[:12], "--release", "--reason", "it did not happen")
	out := p.ok(t, "audit", id)
	check.Equal(t, stepsOf(out), "resolved", "steps")
	holds(t, out, actor(), "it did not happen")
}

// What is told of an operator's sweep is for the proxy's retention to say.
func TestSweepOfFilesKeepsTheTrail(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	store, err := diskstore.Open(dir, &diskstore.Options{FreeSpaceFloor: -1, Ballast: -1, Audit: driver.AuditTransitions, AuditRetention: 1})
	check.NoError(t, err, "Open")
	p := &place{held: store}
	p.begin(t, "charge", 1)
	check.NoError(t, store.Close(), "Close")
	p = &place{dir: dir}
	p.ok(t, "sweep")
	check.Equal(t, stepsOf(p.ok(t, "audit", "--since", "1h")), "acquired", "steps after a sweep")
}

func TestWrongAuditsAreExplained(t *testing.T) {
	for _, c := range [...]struct {
		args []string
		says []string
	}{
		{[]string{"audit"}, []string{"KEY-OR-ID is missing", "--since"}},
		{[]string{"audit", "--operation", "x"}, []string{"KEY-OR-ID is missing", "--since"}},
		{[]string{"audit", ""}, []string{`""`, "empty"}},
		{[]string{"audit", "a", "b"}, []string{`"b"`}},
		{[]string{"audit", "--since", "yesterday"}, []string{"--since", `"yesterday"`, "24h"}},
		{[]string{"audit", "a", "--limit", "0"}, []string{"--limit", `"0"`, "10000"}},
		{[]string{"proxy", "--audit", "some"}, []string{"--audit", `"some"`, "off", "transitions", "all"}},
		{[]string{"proxy", "--audit-retention", "1s"}, []string{"--audit-retention", `"1s"`, "1m"}},
	} {
		code, out, errs := operate(t, c.args...)
		check.Equal(t, code, 2, "exit code of %q, which says %s%s", c.args, out, errs)
		holds(t, errs, c.says...)
	}
}

func TestProxyKeepsTheTrailThatItIsAskedFor(t *testing.T) {
	for level, want := range map[string]string{"off": "", "transitions": "acquired completed"} {
		dir := filepath.Join(t.TempDir(), "data")
		code, _, errs := run("proxy", "--to", "http://127.0.0.1:1", "--scope", "none", "--listen", "127.0.0.1:0", "--store", dir,
			"--audit", level)
		check.Equal(t, code, 0, "exit code, which says %s", errs)
		p := &place{dir: dir}
		out := p.ok(t, "audit", "--since", "1h", "--operation", "onceward.identity")
		check.Equal(t, stepsOf(out), want, "steps with --audit %s", level)
	}
}
