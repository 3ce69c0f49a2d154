// Package overlay makes a mistake in a source file for one build, and leaves the file as it is.
package overlay

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// Replacing is what -overlay of the go command takes: the path of a file that says where there is a copy of a source file in
// which the only occurrence of a text is replaced.
func Replacing(t testing.TB, file, text, by string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	check.NoError(t, err, "finding %s", file)
	source, err := os.ReadFile(path) //nolint:gosec // ours
	check.NoError(t, err, "reading %s", file)
	check.Equal(t, strings.Count(string(source), text), 1, "occurrences of %q in %s, which has changed: so must the mistake", text, file)
	dir := t.TempDir()
	broken, list := filepath.Join(dir, filepath.Base(file)), filepath.Join(dir, "overlay.json")
	check.NoError(t, os.WriteFile(broken, []byte(strings.Replace(string(source), text, by, 1)), 0o600), "writing the mistake")
	says, err := json.Marshal(map[string]map[string]string{"Replace": {path: broken}})
	check.NoError(t, err, "encoding")
	check.NoError(t, os.WriteFile(list, says, 0o600), "writing the overlay")
	return list
}
