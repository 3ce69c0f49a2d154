package check

import (
	"bytes"
	"runtime"
	"testing"
	"time"
)

// NoLeaks fails the test if, at its end, goroutines are left that were not there when NoLeaks was called. It waits up to
// two seconds for them, because a goroutine that was told to end needs a moment to do so.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		deadline := time.Now().Add(2 * time.Second)
		for runtime.NumGoroutine() > before {
			if time.Now().After(deadline) {
				t.Errorf("%d goroutines at the start, %d at the end:\n%s", before, runtime.NumGoroutine(), stacks())
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

func stacks() []byte {
	buf := make([]byte, 1<<20)
	return bytes.TrimSpace(buf[:runtime.Stack(buf, true)])
}
