package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

func TestStats(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		check.Equal(t, p.ok(t, "stats"), "running   0\nin doubt  0\ndone      0, 0 of them without an answer\n", "stats of nothing")
		p.post(t, doubt)
		p.post(t, "done 01234567890")
		p.post(t, "large 0123456789")
		p.begin(t, "refund", time.Hour)
		holds(t, p.ok(t, "stats"), "running   1\n", "in doubt  1, the oldest began ",
			"see onceward keys list --state in-doubt --store "+p.dir, "done      2, 1 of them without an answer\n")
		got := decoded[map[string]float64](t, p.ok(t, "stats", "--json"))
		check.True(t, got["oldest_doubt"] >= 0, "the oldest doubt: %v", got)
		delete(got, "oldest_doubt")
		check.Equal(t, got, map[string]float64{"running": 1, "in_doubt": 1, "done": 2, "tombstones": 1}, "stats")
	})
}

func TestSweep(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		check.Equal(t, p.ok(t, "sweep"), "0 expired keys removed\n", "what it says")
		check.Equal(t, decoded[map[string]int](t, p.ok(t, "sweep", "--json")), map[string]int{"removed": 0}, "JSON")
		p.id(t, "in-doubt")
	})
}

func TestBackup(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		target := filepath.Join(t.TempDir(), "copy")
		code, out, errs := operate(t, "backup", p.dir, target)
		check.Equal(t, code, 0, "exit code, which says %s", errs)
		holds(t, out, target, "another disk")
		copied := &place{dir: target}
		check.Equal(t, copied.id(t, "in-doubt"), p.id(t, "in-doubt"), "what the copy holds")

		code, out, errs = operate(t, "backup", p.dir, target)
		check.Equal(t, code, 1, "exit code for a target that exists")
		check.Equal(t, out, "", "what it prints")
		holds(t, errs, target, "exists")
	})
}

// The process may have been started in another directory.
func TestBackupTargetIsOfTheCommand(t *testing.T) {
	p := &place{dir: filepath.Join(t.TempDir(), "data")}
	p.post(t, doubt)
	t.Chdir(t.TempDir())
	code, out, errs := operate(t, "backup", p.dir, "copy", "--json")
	check.Equal(t, code, 0, "exit code, which says %s", errs)
	here, err := os.Getwd()
	check.NoError(t, err, "Getwd")
	check.Equal(t, decoded[map[string]string](t, out), map[string]string{"target": filepath.Join(here, "copy")}, "JSON")
	_, err = os.Stat("copy")
	check.NoError(t, err, "the copy")
}

func TestKey(t *testing.T) {
	code, first, _ := operate(t, "key", "new", "--prefix", "order-")
	check.Equal(t, code, 0, "exit code")
	check.True(t, strings.HasPrefix(first, "order-") && len(first) == len("order-")+36+1, "a key: %q", first)
	_, second, _ := operate(t, "key", "new")
	check.True(t, len(second) == 36+1 && first != "order-"+second, "another key: %q", second)

	dir := t.TempDir()
	derive := func(doc string) string {
		file := filepath.Join(dir, "doc.json")
		check.NoError(t, os.WriteFile(file, []byte(doc), 0o600), "WriteFile")
		code, out, errs := operate(t, "key", "derive", file, "--prefix", "d-")
		check.Equal(t, code, 0, "exit code, which says %s", errs)
		check.True(t, strings.HasPrefix(out, "d-") && len(out) == len("d-")+64+1, "a key: %q", out)
		return out
	}
	check.Equal(t, derive(`{"a":1,"b":2}`), derive(` {"b":2, "a":1}`), "keys of the same value")
	check.True(t, derive(`{"a":1}`) != derive(`{"a":2}`), "keys of two values are one")
}
