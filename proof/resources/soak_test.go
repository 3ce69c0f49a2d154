//go:build torture

package resources

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/sleep"
	"github.com/onceward/onceward/proof/report"
)

// Answers are kept for seconds, so what a proxy takes must not depend on how long it runs.
func TestSoak(t *testing.T) {
	t.Parallel() // most of it is waiting
	dir := filepath.Join(t.TempDir(), "data")
	service := serviceOf(t, 1000)
	s := sidecarOf(t, binary, service, nil, "--store", dir, "--min-free", "1MiB", "--retention", "10s", "--lease", "5s")
	c := crowdAt(t, s.base)
	d := report.Size(20*time.Second, 30*time.Minute)
	readings := soak(t, s, c, dir, d)
	got := c.counters()
	got.Twice = service.twice()
	report.Linef(t, "%v: %+v; in the second and the last quarter %s", d, got, quarters(readings))
	keptItsPromise(t, c, got)
	check.Equal(t, grown(readings), nil, "what grows: %s", quarters(readings))
	check.True(t, min(got.Answered-got.Replayed, got.Replayed, got.Left) > 500 && got.Unanswered == 0,
		"too little happened for this to mean anything: %+v", got)
	isSwept(t, dir)
}

// isSwept waits until all has expired, which the store sees by the minute, and removes it.
func isSwept(t *testing.T, dir string) {
	t.Helper()
	before, began := onDiskMiB(dir), time.Now()
	for removed := false; !removed || onDiskMiB(dir) > max(1, before/4); sleep.For(t.Context(), time.Second) {
		check.True(t, time.Since(began) < 2*time.Minute, "%.1f MiB of %.1f are left after sweeping", onDiskMiB(dir), before)
		out, err := exec.Command(binary, "sweep", "--store", dir).CombinedOutput()
		check.NoError(t, err, "onceward sweep: %s", out)
		removed = removed || !strings.HasPrefix(string(out), "0 ")
	}
	report.Linef(t, "swept: %.1f MiB on the disk, %.1f before", onDiskMiB(dir), before)
}

// The same with a store that keeps all answers in memory, and a service that never ends some requests.
func TestSoakSeesLeaks(t *testing.T) {
	t.Parallel() // as above
	service := serviceOf(t, 32<<10)
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	service.hold = func(string) <-chan struct{} {
		if rand.IntN(10) == 0 {
			return never
		}
		return nil
	}
	s := sidecarOf(t, binary, service, nil, "--store", "memory:")
	readings := soak(t, s, crowdAt(t, s.base), t.TempDir(), 8*time.Second)
	check.Equal(t, grown(readings), []string{"goroutines", "memory"}, "what grows: %s", quarters(readings))
}

// soak sends for a while, and reads a hundred times what the proxy takes.
func soak(t *testing.T, s *sidecar, c *crowd, dir string, d time.Duration) []reading {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				c.mix(ctx, fmt.Sprintf("key-%d-%d", i, n))
				sleep.For(ctx, 5*time.Millisecond)
			}
		})
	}
	readings := s.watch(ctx, t, dir, d/100)
	all.Wait()
	return readings
}

// mix sends a new key: once, again, twice at the same time, or by a client who leaves and comes back.
func (c *crowd) mix(ctx context.Context, key string) {
	const patience = 200 * time.Millisecond
	once := func(patience time.Duration) {
		within, leave := context.WithTimeout(ctx, patience)
		defer leave()
		c.ask(within, key)
	}
	switch rand.IntN(10) {
	case 0:
		once(time.Duration(rand.IntN(2000)) * time.Microsecond)
		once(patience)
	case 1, 2:
		var both sync.WaitGroup
		both.Go(func() { once(patience) })
		once(patience)
		both.Wait()
	case 3, 4, 5:
		once(patience)
		once(patience)
	default:
		once(patience)
	}
}

// quarters says of each thing how much of it there was in the second quarter and in the last.
func quarters(readings []reading) string {
	var text []string
	for _, it := range things {
		second, last := it.quarters(readings)
		text = append(text, fmt.Sprintf("%s %.0f and %.0f", it.name, second, last))
	}
	return strings.Join(text, ", ")
}
