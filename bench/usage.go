package main

import (
	"os"
	"runtime"
	"runtime/pprof"
	"syscall"
	"time"
)

// usage is what a process, or a proxy and the server behind it, has used since it began. What is not known is 0.
type usage struct {
	CPU    time.Duration `json:"cpu"`
	Server time.Duration `json:"-"` // of CPU, what a server took that is not ours
	Logged uint64        `json:"-"` // bytes in the log of that server
	Allocs uint64        `json:"allocs"`
	Runs   uint64        `json:"runs"` // of a server's handler
}

func used() usage {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // fails for wrong arguments only
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), Allocs: m.Mallocs, Runs: runs.Load()}
}

// startProfile returns what ends the profile. Without a file there is nothing to do.
func startProfile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file) //nolint:gosec // whoever runs this names it
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, err
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
