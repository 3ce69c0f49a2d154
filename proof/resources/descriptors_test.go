//go:build torture

package resources

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/sleep"
	"github.com/onceward/onceward/proof/report"
)

// The soft limit alone would not do: Go raises it to the hard one at start.
var fewDescriptors = []string{"sh", "-c", `ulimit -n 64; exec "$0" "$@"`}

// A few clients send all the time, and hundreds come and go, who want more connections than the proxy may open. A body of
// more than 64 KiB wants a file, too. The store has its default floor: with a low one it has so many files of its own that
// none are left for anybody.
func TestDescriptors(t *testing.T) {
	for name, body := range map[string]int{"small bodies": 10, "large bodies": 100 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			service := serviceOf(t, 1000)
			s := sidecarOf(t, binary, service, fewDescriptors, "--store", filepath.Join(t.TempDir(), "data"))
			check.Equal(t, metrics(t, s.watched(t))["process_max_fds"], 64, "descriptors that the proxy may open")
			few, many := crowdAt(t, s.base), crowdAt(t, s.base)
			few.body = strings.Repeat("x", body)
			many.body = few.body

			press(t, few, many, report.Size(5*time.Second, 2*time.Minute))
			left := time.Now()
			within, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			few.insist(within, "afterwards", 5*time.Second)
			check.NoError(t, within.Err(), "coming back, after %+v and %+v; the log ends with %.3000s", few.counters(), many.counters(), &s.log)
			back := time.Since(left)

			first, second := few.settle(t, service), many.settle(t, service)
			report.Linef(t, "64 descriptors: 16 clients %+v; 300 that come and go %+v; back after %v",
				first, second, back.Round(time.Millisecond))
			keptItsPromise(t, few, first)
			keptItsPromise(t, many, second)
			check.True(t, first.Answered-first.Replayed > 30 && first.Refused+second.Refused > 20,
				"too little happened for this to mean anything: %+v, %+v", first, second)
		})
	}
}

// press has few clients send all the time, and many come and go.
func press(t *testing.T, few, many *crowd, d time.Duration) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { few.work(ctx, 16, "few") })
	for n := 0; ctx.Err() == nil; n++ {
		within, leave := context.WithTimeout(ctx, 300*time.Millisecond)
		many.work(within, 300, fmt.Sprint("many-", n))
		leave()
		many.via.CloseIdleConnections()
		sleep.For(ctx, 300*time.Millisecond)
	}
	all.Wait()
	few.via.CloseIdleConnections()
}

// work has clients send new keys, and each of them again, until ctx ends.
func (c *crowd) work(ctx context.Context, clients int, prefix string) {
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				key := fmt.Sprintf("%s-%d-%d", prefix, i, n)
				c.insist(ctx, key, 2*time.Second)
				c.ask(ctx, key)
			}
		})
	}
	all.Wait()
}
