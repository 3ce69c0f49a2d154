package main

import (
	"cmp"
	"errors"
	"runtime"
	"sync"
	"time"
)

// batch is how many operations are timed at once, and how many keys a world sees before it is thrown away. Tests have a
// smaller one.
var batch = 100_000

// world is where operations happen. The nth call of do is handed n, from 0 on, by several goroutines at once.
type world struct {
	do     func(n int) error
	close  func()
	server counted // whose work is counted too; nil without one
}

// counted is what can say what it has used.
type counted interface {
	used() (usage, error)
}

// inProcess samples operations by as many goroutines as there are cores to use. Fresh keys need a fresh world for each
// batch, or the last operations would meet a larger store than the first ones; making it is not timed.
func inProcess(cores int, fresh bool, open func() (world, error)) func(time.Duration, string) (sample, error) {
	return func(length time.Duration, profile string) (s sample, err error) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
		w, err := open()
		if err != nil {
			return s, err
		}
		defer func() { w.close() }()
		stop, err := startProfile(profile)
		if err != nil {
			return s, err
		}
		for {
			if err := s.addBatch(cores, w.do); err != nil {
				return s, errors.Join(err, stop())
			}
			if s.elapsed >= length {
				return s, stop()
			}
			if fresh {
				w.close()
				if w, err = open(); err != nil {
					return s, errors.Join(err, stop())
				}
			}
		}
	}
}

func (s *sample) addBatch(goroutines int, do func(n int) error) error {
	runtime.GC()
	before, begun := used(), time.Now()
	err := spread(goroutines, batch, do)
	s.elapsed += time.Since(begun)
	after := used()
	s.ops += batch
	s.cpu += after.CPU - before.CPU
	s.allocs += after.Allocs - before.Allocs
	return err
}

// spread does each number below n once, by so many goroutines.
func spread(goroutines, n int, do func(n int) error) error {
	errs := make([]error, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := g; i < n && errs[g] == nil; i += goroutines {
				errs[g] = do(i)
			}
		})
	}
	wg.Wait()
	return cmp.Or(errs...) // the others say the same
}
