package kills

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/proof/report"
)

// armed is the path of a program that can die at points, whose package is in a folder.
func armed(t *testing.T, folder string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "armed")
	build := exec.Command("go", append([]string{"build", "-tags", "failpoint", "-o", path}, append(flags, ".")...)...)
	build.Dir = folder
	build.Env = append(os.Environ(), "GOWORK=off")
	out, err := build.CombinedOutput()
	check.NoError(t, err, "building %s: %s", folder, out)
	return path
}

// Workers die at each point again and again, and nothing that was promised breaks. A point that nobody passes fails the test.
func TestPoints(t *testing.T) {
	program := armed(t, "worker")
	for _, c := range []struct {
		store string
		modes []Mode
		open  func(t *testing.T) (url string, effects func() (map[string]int, error))
	}{
		{"disk", []Mode{Hold, Rerun}, func(t *testing.T) (string, func() (map[string]int, error)) {
			t.Helper()
			return filepath.Join(t.TempDir(), "data"), nil
		}},
		{"redis", []Mode{Hold, Rerun}, func(t *testing.T) (string, func() (map[string]int, error)) {
			t.Helper()
			return testsvc.Redis(t).URL, nil
		}},
		{"postgres", []Mode{Hold, Rerun, Tx}, func(t *testing.T) (string, func() (map[string]int, error)) {
			t.Helper()
			server, effects := database(t, "postgres")
			return server.URL, effects
		}},
		{"mariadb", []Mode{Hold, Rerun, Tx}, func(t *testing.T) (string, func() (map[string]int, error)) {
			t.Helper()
			server, effects := database(t, "mariadb")
			return server.URL, effects
		}},
	} {
		for _, mode := range c.modes {
			t.Run(c.store+"/"+string(mode), func(t *testing.T) {
				t.Parallel() // much of it is waiting
				url, effects := c.open(t)
				p := plan{Kills: size(10, 100), Clients: 16, config: config{Mode: mode, Store: url, Program: program}}
				if mode == Tx {
					p.Effects = effects
				}
				dieAtPoints(t, p)
			})
		}
	}
}

func dieAtPoints(t *testing.T, p plan) {
	t.Helper()
	p.Workers, p.Freeze = 4, true
	if p.onDisk() { // which one process holds
		p.Workers, p.Freeze = 1, false
	}
	p.Points = pointsOf(&p.config, p.Freeze)
	p.Patience = 3*time.Minute + time.Duration(p.Kills)*5*time.Second
	got := run(t, p)
	report.Linef(t, "killed (+frozen) at%v", p.Points)
	nothingWrong(t, p, got)
	check.True(t, p.Points.enough(p.Kills), "some point was hardly hit in %v, want %d at each:%v", p.Patience, p.Kills, p.Points)
	check.True(t, got.Acknowledged > 3*p.Kills && got.Retries > 2*p.Kills && min(got.Leaves, got.Released, got.Unanswered) > p.Kills/2,
		"too little happened for this to mean anything: %+v", got)
}
