package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// Root can read them, and would leave files in them that their owner cannot open.
func TestFilesOfAnotherUserAreLeftAlone(t *testing.T) {
	dir := "/usr" // root's
	if os.Geteuid() == 0 {
		p := &place{dir: filepath.Join(t.TempDir(), "data")}
		p.post(t, doubt)
		dir = p.dir
		check.NoError(t, os.Chown(dir, 54321, -1), "Chown")
	}
	before, err := os.ReadDir(dir)
	check.NoError(t, err, "ReadDir")
	for _, args := range [...][]string{{"keys", "list", "--store", dir}, {"stats", "--store", dir}, {"backup", dir, t.TempDir() + "/copy"}} {
		code, out, errs := operate(t, args...)
		check.Equal(t, code, 1, "exit code of %q", args)
		check.Equal(t, out, "", "what %q prints", args)
		holds(t, errs, "--store "+dir+": ", "belongs to another user", "sudo -u", "onceward "+args[0])
	}
	after, err := os.ReadDir(dir)
	check.NoError(t, err, "ReadDir")
	check.Equal(t, fmt.Sprint(after), fmt.Sprint(before), "what is in it")
}
