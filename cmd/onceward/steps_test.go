package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// outcome is what a step of the demo says, and what its command prints, whichever service is behind the proxy.
type outcome struct {
	says string
	want map[string]int // what is printed, and how often
}

var outcomes = func() []outcome {
	const made, conflict = "HTTP/1.1 201", "HTTP/1.1 409"
	const replayed, derived = "\r\nIdempotent-Replayed: true\r\n", "\r\nIdempotency-Key-Derived: true\r\n"
	const first = "\r\nLocation: /api/payments/p-1\r\n"
	paid := func(id, amount string) string { return `{"id":"` + id + `","amount":` + amount + `,"to":"bob"}` }
	return []outcome{
		{"201", map[string]int{made: 1, replayed: 0, first: 1, paid("p-1", "12"): 1}},
		{"the same answer", map[string]int{made: 1, replayed: 1, first: 1, paid("p-1", "12"): 1}},
		{"422 key-reused", map[string]int{"HTTP/1.1 422": 1, `"code":"key-reused"`: 1}},
		{"two equal answers", map[string]int{made: 2, replayed: 1, paid("p-2", "20"): 2}},
		{"409 in-progress", map[string]int{conflict: 1, `"code":"in-progress"`: 1, made: 1, replayed: 0, paid("p-3", "30"): 1}},
		{"the answer, at once", map[string]int{made: 1, replayed: 1, paid("p-3", "30"): 1}},
		{"502 upstream-failed", map[string]int{"HTTP/1.1 502": 1, `"code":"upstream-failed"`: 1}},
		{"409 in-doubt", map[string]int{conflict: 1, `"code":"in-doubt"`: 1}},
		{"one key in doubt", map[string]int{"POST /api/payments": 1, "in-doubt": 1, "upstream-failed": 1}},
		{"four payments", map[string]int{"HTTP/1.1 200": 1, `"id":"p-`: 4, `"amount":40`: 1}},
		{"the answer that the client should have had", map[string]int{"status 201": 1}},
		{"the answer that was given", map[string]int{made: 1, replayed: 1, paid("p-4", "40"): 1}},
		{"Idempotency-Key-Derived", map[string]int{made: 1, replayed: 0, derived: 1, paid("p-5", "50"): 1}},
		{"the same payment, replayed", map[string]int{made: 1, replayed: 1, derived: 1, paid("p-5", "50"): 1}},
	}
}()

// try runs a step as it stands, and compares.
func (o *outcome) try(t *testing.T, title, command string) {
	t.Helper()
	check.True(t, strings.Contains(title, o.says), "this step is about %q, want %q", title, o.says)
	var errs strings.Builder
	bash := exec.CommandContext(t.Context(), "bash", "-c", command)
	bash.Stderr = &errs
	out, err := bash.Output()
	check.NoError(t, err, "%s\n%s", command, &errs)
	for text, times := range o.want {
		check.Equal(t, strings.Count(string(out), text), times, "%s: how often %q is in the output of\n%s\n%s", title, text, command, out)
	}
}
