package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpu is what the system says of the server and of all that it has started, and 0 where it says nothing. This is finer than
// the ticks of /proc/PID/stat, of which there are thirty in a sample. It forgets threads that have ended; those of the
// connections that are measured stay.
func (r *running) cpu() (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	parents := make(map[int]int, len(stats))
	for _, file := range stats {
		text, err := os.ReadFile(file) //nolint:gosec // a name that the system has chosen
		if err != nil {
			continue // it has just ended
		}
		var pid, parent int
		var state string
		line := string(text)
		_, _ = fmt.Sscan(line, &pid)
		_, _ = fmt.Sscan(line[strings.LastIndexByte(line, ')')+1:], &state, &parent) // the name before may hold anything
		parents[pid] = parent
	}
	var all time.Duration
	for pid := range parents {
		if !descends(pid, r.cmd.Process.Pid, parents) {
			continue
		}
		used, err := cpuOfThreads(pid)
		if err != nil {
			return 0, err
		}
		all += used
	}
	return all, nil
}

func descends(pid, from int, parents map[int]int) bool {
	for pid != 0 && pid != from {
		pid = parents[pid]
	}
	return pid == from
}

func cpuOfThreads(pid int) (all time.Duration, err error) {
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/schedstat")
	if err != nil {
		return 0, err
	}
	for _, file := range threads {
		text, err := os.ReadFile(file) //nolint:gosec // as above
		if err != nil {
			continue // it has just ended
		}
		first, _, _ := strings.Cut(string(text), " ")
		used, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", file, err)
		}
		all += time.Duration(used)
	}
	return all, nil
}
