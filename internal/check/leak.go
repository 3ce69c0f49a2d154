package check

import (
	"bytes"
	"regexp"
	"runtime"
	"testing"
	"time"
)

// NoLeaks fails the test if, at its end, goroutines are left that were not there when NoLeaks was called. It waits up to
// two seconds for them, because a goroutine that was told to end needs a moment to do so.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := goroutines()
	t.Cleanup(func() {
		deadline := time.Now().Add(2 * time.Second)
		for {
			left := goroutines()
			for id := range before {
				delete(left, id)
			}
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				for _, stack := range left {
					t.Errorf("a goroutine is left:\n%s", stack)
				}
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

var header = regexp.MustCompile(`^goroutine \d+`)

// goroutines are the stacks of all of them, by what they are called, which is never used again.
func goroutines() map[string][]byte {
	buf := make([]byte, 1<<20)
	all := make(map[string][]byte)
	for stack := range bytes.SplitSeq(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
		all[string(header.Find(stack))] = stack
	}
	return all
}
