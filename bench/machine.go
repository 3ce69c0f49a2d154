package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// machine describes where the figures come from, and how busy that was. Stores are made in scratch.
func machine(scratch string) string {
	const unknown = "unknown"
	return fmt.Sprintf("%s, %d cores, %s %s/%s, load %s, stores on %s", cmp.Or(processor(), "unknown processor"),
		runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, cmp.Or(loadAverage(), unknown),
		cmp.Or(fileSystem(scratch), unknown))
}

func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// fileSystem is the type of the one that dir is in.
func fileSystem(dir string) (kind string) {
	file, err := os.Open("/proc/self/mounts")
	if err != nil {
		return ""
	}
	defer file.Close()
	longest := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var device, at, what string
		_, _ = fmt.Sscan(lines.Text(), &device, &at, &what)
		if below, err := filepath.Rel(at, dir); err == nil && filepath.IsLocal(below) && len(at) >= longest {
			longest, kind = len(at), what // of two at the same place the later one is seen
		}
	}
	return kind
}

// wantDisk refuses a directory in memory, where a sync costs nothing.
func wantDisk(dir string) error {
	if kind := fileSystem(dir); kind == "tmpfs" || kind == "ramfs" {
		return fmt.Errorf("%s is %s, and a sync to memory says nothing about a disk: set TMPDIR to a directory on a disk", dir, kind)
	}
	return nil
}

// loadAverage is how many processes wanted to run in the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
