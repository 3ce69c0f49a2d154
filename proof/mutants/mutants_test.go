package mutants

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

const root = "../.."

// judge runs tests of the root, by a pattern of their names, and returns what they say.
func judge(tests string, flags ...string) (string, error) {
	cmd := exec.Command("go", append([]string{"test", "-count=1", "-vet=off", "-timeout=30s", "-run", "^(" + tests + ")$", "."}, flags...)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestTheGuardItselfPasses(t *testing.T) {
	tests := map[string]bool{}
	for _, m := range guardMutants {
		tests[m.test] = true
	}
	names := make([]string, 0, len(tests))
	for name := range tests {
		names = append(names, name)
	}
	out, err := judge(strings.Join(names, "|"), "-v")
	check.NoError(t, err, "the tests of the guard: %s", out)
	for _, name := range names {
		check.True(t, strings.Contains(out, "--- PASS: "+name+" "), "there is no test %s", name)
	}
}

func TestGuardMutants(t *testing.T) {
	for _, m := range guardMutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			out, err := judge(m.test, "-overlay", m.overlay(t))
			check.True(t, err != nil, "%s does not notice:\n%s", m.test, out)
			check.True(t, strings.Contains(out, "--- FAIL: "+m.test), "%s does not fail, but:\n%s", m.test, out)
		})
	}
}

// overlay is the path of a file that tells the compiler of the mistake.
func (m *mutant) overlay(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(root, m.file))
	check.NoError(t, err, "finding %s", m.file)
	source, err := os.ReadFile(path)
	check.NoError(t, err, "reading %s", m.file)
	check.Equal(t, strings.Count(string(source), m.old), 1, "occurrences of %q in %s, which has changed: so must the mutant", m.old, m.file)
	dir := t.TempDir()
	broken, list := filepath.Join(dir, m.file), filepath.Join(dir, "overlay.json")
	check.NoError(t, os.WriteFile(broken, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600), "writing the mutant")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{path: broken}})
	check.NoError(t, err, "encoding")
	check.NoError(t, os.WriteFile(list, text, 0o600), "writing the overlay")
	return list
}
