package main

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine describes where the figures come from, and how busy that was.
func machine() string {
	return fmt.Sprintf("%s, %d cores, %s %s/%s, load %s", cmp.Or(processor(), "unknown processor"), runtime.NumCPU(),
		runtime.Version(), runtime.GOOS, runtime.GOARCH, cmp.Or(loadAverage(), "unknown"))
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

// loadAverage is how many processes wanted to run in the last minute.
func loadAverage() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
