// Package report says how much a torture run does, and keeps what it did, beside the log of its tests.
package report

import (
	"fmt"
	"os"
	"testing"
)

// variable names the file to which lines are added. Tests of several packages share it, one after the other.
const variable = "TORTURE_REPORT"

// Linef logs what a test did, with its seed and its counters, and adds it to the report if one is kept.
func Linef(t testing.TB, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	t.Log(line)
	name := os.Getenv(variable)
	if name == "" {
		return
	}
	file, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // named by whoever runs it
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(file, "- `%s`: %s\n", t.Name(), line)
	if closed := file.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
}
