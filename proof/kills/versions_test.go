//go:build torture

package kills

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/proof/internal/overlay"
	"github.com/onceward/onceward/proof/report"
)

// firstPrevious is what the first release is mixed with: the first commit whose sidecar can be told to die at points.
const firstPrevious = "b1c43a0c3aa4584ba44cb16cda9ceb955fa9e6f9"

// release is the one before this commit.
func release(t *testing.T) string {
	t.Helper()
	tag, err := exec.Command("git", "describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^").Output()
	if err != nil {
		return firstPrevious
	}
	return strings.TrimSpace(string(tag))
}

// checkout is a folder with the tree of a commit.
func checkout(t *testing.T, commit string) string {
	t.Helper()
	dir := t.TempDir()
	archive := filepath.Join(dir, "tree.tar")
	for _, command := range [][]string{
		{"git", "-C", filepath.Join("..", ".."), "archive", "--output", archive, commit}, {"tar", "-x", "-f", archive, "-C", dir},
	} {
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		check.NoError(t, err, "%s: %s", command, out)
	}
	return dir
}

// While a new version is rolled out, sidecars of two versions share a store, and take over from each other.
func TestMixedVersions(t *testing.T) {
	before := release(t)
	if out, err := exec.Command("git", "cat-file", "-e", before).CombinedOutput(); err != nil && os.Getenv("TORTURE") != "full" {
		t.Logf("not run, because %s is not in this clone, see git fetch --unshallow: %v: %s", before, err, out)
		return
	}
	sidecar := filepath.Join("cmd", "onceward")
	program, previous := armed(t, filepath.Join("..", "..", sidecar)), armed(t, filepath.Join(checkout(t, before), sidecar))
	for _, server := range []func(testing.TB, ...string) *testsvc.Server{testsvc.Redis, testsvc.Postgres, testsvc.MariaDB} {
		url := server(t).URL
		name, _, _ := strings.Cut(url, ":")
		t.Run(name, func(t *testing.T) {
			t.Parallel() // much of it is waiting
			report.Linef(t, "together with %s", before)
			if name != "redis" {
				out, err := exec.Command(program, "migrate", "up", "--store", url).CombinedOutput()
				check.NoError(t, err, "%s", out)
			}
			service := newGuarded(t)
			p := sidecars(service, url, program, Hold)
			p.Kills, p.Previous = size(6, 60), previous
			dieAtPoints(t, p)
		})
	}
}

// A version that takes the same key for another one, and does not say so, has to be seen.
func TestMixedVersionsShowsWhatIsLookedFor(t *testing.T) {
	t.Parallel() // much of it is waiting
	root := filepath.Join("..", "..")
	sidecar := filepath.Join(root, "cmd", "onceward")
	p := sidecars(newGuarded(t), testsvc.Redis(t).URL, armed(t, sidecar), Hold)
	mistake := overlay.Replacing(t, filepath.Join(root, "key.go"), "return sha256.Sum256(buf)", "return sha256.Sum256(buf[1:])")
	p.Previous = armed(t, sidecar, "-overlay", mistake)
	p.Workers, p.Points, p.Patience, p.Kills = 4, pointsOf(&p.config, false), time.Minute, 1
	p.prepare(t)
	got, _ := p.run(t.Context())
	report.Linef(t, "seed %d, %+v", p.Seed, got)
	check.True(t, got.Twice > 0 && got.Differing+got.Lost > 0, "operations that were done twice, and answers that differ: %+v", got)
}
