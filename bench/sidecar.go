package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// buildOnceward builds the binary as it is installed. Its sources are found from where this program is run.
func buildOnceward(scratch string) (string, error) {
	binary := filepath.Join(scratch, "onceward")
	out, err := exec.CommandContext(context.Background(), //nolint:gosec // the directory is our own
		"go", "build", "-C", "../cmd/onceward", "-o", binary, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building ../cmd/onceward, which is there if this is run in the directory bench: %w\n%s", err, out)
	}
	return binary, nil
}

// sidecar is a running `onceward proxy`.
type sidecar struct {
	cmd   *exec.Cmd
	addr  string
	store string
}

// startSidecar starts a sidecar whose log nobody reads. A store on disk is removed when it ends.
func startSidecar(binary, to, store string, flags ...string) (*sidecar, error) {
	args := []string{"proxy", "--to", "http://" + to, "--scope", "none", "--listen", "127.0.0.1:0"}
	cmd := exec.CommandContext(context.Background(), binary, append(args, flags...)...) //nolint:gosec // the one that we have built
	cmd.Env = append(os.Environ(), "ONCEWARD_STORE="+store)                             // it may hold a password
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &sidecar{cmd: cmd, store: store}
	line, err := bufio.NewReader(out).ReadString('\n')
	addr, listens := strings.CutPrefix(strings.TrimSpace(line), "listening on http://")
	if !listens {
		return nil, errors.Join(fmt.Errorf("it said %q, and not where it listens: %s", line, cmd), err, s.end())
	}
	s.addr = addr
	return s, nil
}

func (s *sidecar) address() string { return s.addr }

func (s *sidecar) end() error {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // if it is gone already, Wait says why
	err := s.cmd.Wait()
	if filepath.IsAbs(s.store) {
		err = errors.Join(err, os.RemoveAll(s.store))
	}
	return err
}

// used is what the system says: the sidecar is a program that does not know that it is measured.
func (s *sidecar) used() (usage, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		return usage{}, nil
	}
	if err != nil {
		return usage{}, err
	}
	cpu, err := cpuIn(string(text))
	return usage{CPU: cpu}, err
}

// cpuIn reads proc_pid_stat(5), where fields 14 and 15 are ticks of a hundredth of a second. Field 2 may hold spaces, and
// ends with the last parenthesis.
func cpuIn(stat string) (time.Duration, error) {
	const tick, beyondName, utime, stime = time.Second / 100, 3, 14, 15
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= stime-beyondName {
		return 0, fmt.Errorf("a /proc/PID/stat of another form: %q", stat)
	}
	user, err := strconv.Atoi(fields[utime-beyondName])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[stime-beyondName])
	return time.Duration(user+system) * tick, err
}
