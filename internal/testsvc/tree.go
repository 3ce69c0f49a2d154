package testsvc

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// children are the processes that pid has started. A process group would not do: each backend of PostgreSQL is a session
// of its own.
func children(pid int) (found []int) {
	if runtime.GOOS != "linux" {
		out, _ := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output() //nolint:noctx // it ends by itself
		for line := range strings.Lines(string(out)) {
			if fields := strings.Fields(line); len(fields) == 2 && fields[1] == strconv.Itoa(pid) {
				child, _ := strconv.Atoi(fields[0])
				found = append(found, child)
			}
		}
		return found
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/stat") // ps is not installed everywhere
	for _, file := range processes {
		if _, parent := status(file); parent == pid {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			found = append(found, child)
		}
	}
	return found
}

// awaitStop returns when no thread of the process runs any more, or after a second. A stop signal is handled by one thread,
// and the others run on until it has been.
func awaitStop(pid int) {
	for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		running := 0
		threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat")
		for _, file := range threads {
			switch state, _ := status(file); state {
			case "R", "S", "D":
				running++
			}
		}
		if running == 0 {
			return
		}
	}
}

// status reads a line like "7 (name) S 1 …", see proc_pid_stat(5). The name may hold anything.
func status(file string) (state string, parent int) {
	line, _ := os.ReadFile(file) //nolint:gosec // its name is ours
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) < 2 {
		return "", 0 // it has just ended
	}
	parent, _ = strconv.Atoi(string(fields[1]))
	return string(fields[0]), parent
}
