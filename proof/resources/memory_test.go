//go:build torture

package resources

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/proof/report"
)

var littleMemory = []string{"env", "GOMEMLIMIT=32MiB"}

// enoughMemory, in MiB, is what a proxy with GOMEMLIMIT=32MiB may have at its peak: the limit is a soft one, and counts
// neither the program nor what the database takes outside the heap.
const enoughMemory = 160

// Large answers and many keys, of which all together would take several times the memory.
func TestMemory(t *testing.T) {
	t.Parallel() // most of it is waiting
	large, small := report.Size(800, 8000), report.Size(3000, 200_000)
	got, peak := fillMemory(t, filepath.Join(t.TempDir(), "data"), large, small)
	report.Linef(t, "GOMEMLIMIT=32MiB, %d answers of 256 KiB, %d of 100 B: %+v, at most %d MiB in use", large, small, got, peak)
	check.True(t, peak < enoughMemory, "%d MiB were in use, want less than %d", peak, enoughMemory)
	check.Equal(t, [3]int{got.Answered, got.Replayed, got.Unstored}, [3]int{2 * (large + small), large + small, 0},
		"answered, replayed, and not stored")
}

// The store in memory has to hold what it is given, and the bound has to see it.
func TestMemoryInUseIsSeen(t *testing.T) {
	t.Parallel() // as above
	_, peak := fillMemory(t, "memory:", 800, 0)
	check.True(t, peak > enoughMemory, "only %d MiB are in use with 200 MiB of answers in memory", peak)
}

// fillMemory asks for everything twice, and returns what clients were told and the proxy's peak in MiB.
func fillMemory(t *testing.T, store string, large, small int) (counters, int) {
	t.Helper()
	service := serviceOf(t, 100)
	service.large = 256 << 10
	s := sidecarOf(t, binary, service, littleMemory, "--store", store)
	c := crowdAt(t, s.base)
	each(8, append(numbered("large", large), numbered("small", small)...), func(key string) {
		c.insist(t.Context(), key, time.Minute)
	})
	got := c.settle(t, service)
	keptItsPromise(t, c, got)
	return got, s.peak(t)
}
