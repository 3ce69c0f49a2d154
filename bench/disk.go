package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward/bench/internal/rawlog"
	"github.com/onceward/onceward/diskstore"
)

// diskTable is the durable store against a log that writes as many bytes, as durably, and can do nothing else: nobody finds
// a key in it.
func diskTable(scratch string) *table {
	t := &table{name: "disk", title: "the durable store; fresh is one Acquire and one Complete, each synced", durable: true}
	for _, at := range []struct {
		callers int
		least   float64
	}{{1, 0.65}, {16, 0.6}, {128, 0.25}} {
		name := func(what string) string { return fmt.Sprintf("%s, callers: %d", what, at.callers) }
		raw := name("raw log")
		t.rows = append(t.rows,
			row{name: raw, sample: byCallers(at.callers, rawLogWorld(scratch))},
			row{
				name: name("diskstore, fresh"), against: raw, sample: byCallers(at.callers, diskWorld(scratch, false)),
				targets: []target{speed(at.least)},
			},
			row{name: name("diskstore, replay"), against: raw, sample: byCallers(at.callers, diskWorld(scratch, true))},
		)
	}
	return t
}

// byCallers samples operations by so many callers at once, in a world of its own.
func byCallers(callers int, open func() (world, error)) func(time.Duration, string) (sample, error) {
	return func(length time.Duration, profile string) (s sample, err error) {
		w, err := open()
		if err != nil {
			return s, err
		}
		defer func() { w.close() }()
		var next atomic.Int64
		if _, _, err := during(length/4, callers, &next, w.do); err != nil {
			return s, err
		}
		runtime.GC()
		stop, err := startProfile(profile)
		if err != nil {
			return s, err
		}
		theirs, failed := w.serverUsed()
		before := used()
		s.ops, s.elapsed, err = during(length, callers, &next, w.do)
		after := used()
		theirsAfter, failedAfter := w.serverUsed()
		s.allocs = after.Allocs - before.Allocs
		s.server, s.logged = theirsAfter.Server-theirs.Server, theirsAfter.Logged-theirs.Logged
		if w.server == nil || s.server != 0 {
			s.cpu = after.CPU - before.CPU + s.server
		}
		return s, errors.Join(err, failed, failedAfter, stop())
	}
}

func (w *world) serverUsed() (usage, error) {
	if w.server == nil {
		return usage{}, nil
	}
	return w.server.used()
}

// during counts what so many callers can do in that time, each at least once.
func during(length time.Duration, callers int, next *atomic.Int64, do func(n int) error) (int, time.Duration, error) {
	var wg sync.WaitGroup
	errs := make([]error, callers)
	first, begun := next.Load(), time.Now()
	for i := range callers {
		wg.Go(func() {
			for again := true; again; again = errs[i] == nil && time.Since(begun) < length {
				errs[i] = do(int(next.Add(1)) - 1)
			}
		})
	}
	wg.Wait()
	return int(next.Load() - first), time.Since(begun), cmp.Or(errs...) // the others say the same
}

func diskWorld(scratch string, replay bool) func() (world, error) {
	return func() (w world, err error) {
		dir, err := os.MkdirTemp(scratch, "store-")
		if err != nil {
			return w, err
		}
		// A ballast would be written right before each sample, and the disk would still be busy with it.
		s, err := diskstore.Open(dir, &diskstore.Options{Ballast: -1})
		if err != nil {
			return w, err
		}
		ctx, cancel := context.WithCancel(context.Background()) // the context of a request can end
		w.close = func() {
			cancel()
			_ = errors.Join(s.Close(), os.RemoveAll(dir)) // what was measured is over
		}
		p := pairs{ctx, s, idOf, theClaim()}
		if !replay {
			w.do = p.fresh
			return w, nil
		}
		w.do = func(n int) error { return p.replay(n % stored) }
		if err = fill(p.fresh); err != nil {
			w.close()
		}
		return w, err
	}
}

// By so many bytes the log of diskstore grew for each Acquire and each Complete, over 2000 pairs.
const (
	acquireBytes  = 301
	completeBytes = 545
)

func rawLogWorld(scratch string) func() (world, error) {
	return func() (w world, err error) {
		dir, err := os.MkdirTemp(scratch, "log-")
		if err != nil {
			return w, err
		}
		log, err := rawlog.Create(filepath.Join(dir, "log"))
		if err != nil {
			return w, err
		}
		entry := make([]byte, acquireBytes+completeBytes)
		w.close = func() { _ = errors.Join(log.Close(), os.RemoveAll(dir)) }
		w.do = func(int) error {
			if err := log.Append(entry[:acquireBytes]); err != nil {
				return err
			}
			return log.Append(entry[acquireBytes:])
		}
		return w, nil
	}
}
