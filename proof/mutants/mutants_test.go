package mutants

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/proof/internal/overlay"
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
			out, err := judge(m.test, "-overlay", overlay.Replacing(t, filepath.Join(root, m.file), m.old, m.new))
			check.True(t, err != nil, "%s does not notice:\n%s", m.test, out)
			check.True(t, strings.Contains(out, "--- FAIL: "+m.test), "%s does not fail, but:\n%s", m.test, out)
		})
	}
}
