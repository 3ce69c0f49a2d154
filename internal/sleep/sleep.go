// Package sleep waits for no longer than a context lives.
package sleep

import (
	"context"
	"time"
)

// For reports whether it slept for d; false means that ctx ended first.
func For(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false // also when there is nothing to wait for
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
