package model

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/proof/report"
)

// search is a way to run the model, and what has to come of it.
type search struct {
	variant    string
	properties []string
	finds      string // the assertion that is violated, empty if none is
	heavy      bool   // three workers take minutes and half a gigabyte
}

var searches = []search{
	{"HOLD", []string{"ONE_EFFECT", "ONE_OWNER", "SAME_REPLY", "STABLE"}, "", false},
	{"TX", []string{"ONE_EFFECT", "ONE_OWNER", "SAME_REPLY", "STABLE"}, "", true},

	// A lease alone breaks everything.
	{"LEASE", []string{"ONE_EFFECT"}, "effects<=1", false},
	{"LEASE", []string{"ONE_OWNER"}, "acting==0", false},
	{"LEASE", []string{"SAME_REPLY"}, "heard==", false},
	{"LEASE", []string{"STABLE"}, "outcome==", false},

	// A fence keeps what is stored and told, and not what is done.
	{"FENCE", []string{"SAME_REPLY", "STABLE"}, "", true},
	{"FENCE", []string{"ONE_EFFECT"}, "effects<=1", false},
	{"FENCE", []string{"ONE_OWNER"}, "acting==0", false},

	// A residue remembers one owner. When two have undone their Begin, the Acquire of the first can still arrive, and leaves the
	// key in doubt although nothing ran. That is safe, and known.
	{"HOLD", []string{"NO_GHOST"}, "freed", false},

	// Controls: somebody does get an answer, so that what is said of answers is said of something.
	{"HOLD", []string{"NO_REPLY"}, "assertion violated 0", false},
	{"TX", []string{"NO_REPLY"}, "assertion violated 0", false},
	{"FENCE", []string{"NO_REPLY"}, "assertion violated 0", false},
}

func TestRecord(t *testing.T) {
	for _, s := range searches {
		t.Run(s.variant+"/"+strings.Join(s.properties, "+"), func(t *testing.T) {
			t.Parallel()
			s.run(t)
		})
	}
}

func (s *search) run(t *testing.T) {
	t.Helper()
	workers := 3
	if s.heavy && os.Getenv("TORTURE") != "full" {
		workers = 2
	}
	out := explore(t, s, workers)
	states := number(out, `(\d+) states, stored`)
	report.Linef(t, "%d workers: %d states, %s", workers, states, line(out, "pan:1:"))
	check.True(t, states > 0, "the search says nothing:\n%s", out)
	if s.finds != "" {
		check.True(t, strings.Contains(line(out, "pan:1:"), s.finds), "it must find a violation of %q:\n%s", s.finds, out)
		return
	}
	check.Equal(t, number(out, `errors: (\d+)`), 0, "errors:\n%s", out)
	for _, incomplete := range []string{"not completed", "max search depth too small", "out of memory", "pan:1:"} {
		check.True(t, !strings.Contains(out, incomplete), "the search is incomplete:\n%s", out)
	}
}

// explore makes the search program of the variant and runs it.
func explore(t *testing.T, s *search, workers int) string {
	t.Helper()
	model, err := filepath.Abs("record.pml")
	check.NoError(t, err, "record.pml")
	dir := t.TempDir()
	args := []string{"-D" + s.variant, "-DN=" + strconv.Itoa(workers)}
	for _, p := range s.properties {
		args = append(args, "-D"+p)
	}
	command(t, dir, "spin", append(args, "-a", model)...)
	// Safety only: nothing here is about what happens in the end. The compiler warns about code that spin wrote.
	command(t, dir, "gcc", "-w", "-O1", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=2000", "-o", "pan", "pan.c")
	return command(t, dir, "./pan", "-m2000000")
}

func command(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	check.NoError(t, err, "%s %s (spin and gcc are Debian packages)\n%s", program, strings.Join(args, " "), out)
	return string(out)
}

// number is what the pattern captures, -1 if it is not there.
func number(text, pattern string) int {
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		return -1
	}
	n, _ := strconv.Atoi(found[1])
	return n
}

// line is the first one that begins so.
func line(text, begin string) string {
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, begin) {
			return strings.TrimSpace(l)
		}
	}
	return "no violation"
}
