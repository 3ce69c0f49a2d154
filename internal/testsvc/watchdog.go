package testsvc

import (
	_ "embed"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
)

//go:embed watchdog.sh
var watchdogScript string

// watchdog is a shell that waits for the end of this process, and then ends a server and removes its folder. It sees the
// end by the end of a pipe, which the kernel closes after a kill -9 too.
//
// A death signal of the parent (Pdeathsig) would be less: it is for Linux only, is sent when the thread ends that started
// the child, does not reach the backends of a PostgreSQL that is paused, and leaves the folder behind.
type watchdog struct {
	shell *exec.Cmd
	pipe  io.WriteCloser
}

func newWatchdog(dir string) (*watchdog, error) {
	//nolint:noctx,gosec // it has to outlive everything here, and gets a folder that is ours
	shell := exec.Command("/bin/sh", "-c", watchdogScript, "sh", dir)
	shell.Dir = "/"
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is not for it
	pipe, err := shell.StdinPipe()
	if err == nil {
		err = shell.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("testsvc: no watchdog: %w", err)
	}
	return &watchdog{shell, pipe}, nil
}

// watch replaces the processes, or process groups if negative, that are to be killed.
func (w *watchdog) watch(pids ...int) error {
	if _, err := fmt.Fprintln(w.pipe, strings.Trim(fmt.Sprint(pids), "[]")); err != nil {
		return fmt.Errorf("testsvc: the watchdog is gone, so this server would outlive a killed test: %w", err)
	}
	return nil
}

// release lets the watchdog do its work, and waits for it.
func (w *watchdog) release() {
	_ = w.pipe.Close()
	_ = w.shell.Wait()
}
