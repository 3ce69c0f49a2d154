package failpoint_test

import (
	"bufio"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// built is the path of a program that passes after-acquire.
func built(t *testing.T, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "passes")
	args := append(append([]string{"build", "-o", path}, flags...), "./testdata/passes")
	out, err := exec.Command("go", args...).CombinedOutput()
	check.NoError(t, err, "building: %s", out)
	return path
}

func with(path, value string) *exec.Cmd {
	cmd := exec.Command(path)
	cmd.Env = append(cmd.Environ(), "ONCEWARD_FAILPOINT="+value)
	return cmd
}

func TestWithTheTag(t *testing.T) {
	path := built(t, "-tags", "failpoint")
	for _, c := range []struct{ value, says, ends string }{
		{"", "passed", ""},
		{"after-acquire:0", "passed", ""},
		{"before-acquire:1", "passed", ""},
		{"after-acquire:1", "failpoint: killed at after-acquire", "signal: killed"},
		{"afterwards:1", `there is no point "afterwards"; say something like`, "exit status 2"},
		{"after-acquire", `the chance "" is no number`, "exit status 2"},
		{"after-acquire:1.5", "not between 0 and 1", "exit status 2"},
		{"after-acquire:1:panic", `"panic" is not what can be done`, "exit status 2"},
	} {
		out, err := with(path, c.value).CombinedOutput()
		ended := ""
		if err != nil {
			ended = err.Error()
		}
		check.Equal(t, ended, c.ends, "end with %q", c.value)
		check.True(t, strings.Contains(string(out), c.says), "with %q it says %q", c.value, out)
	}
}

func TestWhatIsFrozenGoesOn(t *testing.T) {
	cmd := with(built(t, "-tags", "failpoint"), "after-acquire:1:freeze")
	out, err := cmd.StdoutPipe()
	check.NoError(t, err, "a pipe")
	check.NoError(t, cmd.Start(), "starting")
	var status syscall.WaitStatus
	_, err = syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil)
	check.NoError(t, err, "waiting")
	check.True(t, status.Stopped() && status.StopSignal() == syscall.SIGSTOP, "it is not stopped: %v", status)
	check.NoError(t, cmd.Process.Signal(syscall.SIGCONT), "going on")
	line, err := bufio.NewReader(out).ReadString('\n')
	check.NoError(t, err, "reading")
	check.Equal(t, line, "passed\n", "what it says after that")
	check.NoError(t, cmd.Wait(), "its end")
}

// Without the tag a program has nothing of this package but its name.
func TestWithoutTheTagNothingIsLeft(t *testing.T) {
	for tag, left := range map[string]bool{"failpoint": true, "other": false} {
		path := built(t, "-tags", tag)
		symbols, err := exec.Command("go", "tool", "nm", path).Output()
		check.NoError(t, err, "reading its symbols")
		check.Equal(t, strings.Contains(string(symbols), "internal/failpoint."), left, "symbols of this package, with the tag %s", tag)
		var exit *exec.ExitError
		killed := errors.As(with(path, "after-acquire:1").Run(), &exit)
		check.Equal(t, killed, left, "death at the point, with the tag %s", tag)
	}
}
