package sleep

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/internal/check"
)

func TestFor(t *testing.T) {
	for _, c := range []struct {
		what       string
		life, d    time.Duration
		slept      bool
		afterwards time.Duration
	}{
		{"a context that lives on", 2 * time.Second, time.Second, true, time.Second},
		{"a context that ends", time.Second, 2 * time.Second, false, time.Second},
		{"a context that has ended", 0, time.Second, false, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), c.life)
			defer cancel()
			begun := time.Now()
			check.Equal(t, For(ctx, c.d), c.slept, "whether it slept, with %s", c.what)
			check.Equal(t, time.Since(begun), c.afterwards, "how long it took, with %s", c.what)
		})
	}
}

// A loop without a pause ends with its context all the same.
func TestForNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	check.True(t, For(ctx, 0), "it did not sleep for nothing while the context lived")
	cancel()
	for range 100 {
		check.True(t, !For(ctx, 0), "it slept for nothing after the context had ended")
	}
}
