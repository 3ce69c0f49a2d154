//go:build torture

package resources

import (
	"context"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/sleep"
)

// reading is what a proxy takes at a moment: memory and disk in MiB.
type reading struct{ goroutines, memory, disk float64 }

// thing is one of those, and how much more of it in the last quarter of a run than in the second is no growth: a share of
// what there was, and what may come and go.
type thing struct {
	name   string
	of     func(reading) float64
	share  float64
	beside float64
}

var things = []thing{
	{"goroutines", func(r reading) float64 { return r.goroutines }, 0.5, 50},
	{"memory", func(r reading) float64 { return r.memory }, 0.25, 16},
	{"disk", func(r reading) float64 { return r.disk }, 0.5, 32},
}

// grown are the things that grow: after the first quarter everything that is taken once has been taken.
func grown(readings []reading) (names []string) {
	for _, it := range things {
		before, after := it.quarters(readings)
		if after > before*(1+it.share)+it.beside {
			names = append(names, it.name)
		}
	}
	return names
}

// quarters are the medians of the second one and of the last.
func (it thing) quarters(readings []reading) (second, last float64) {
	n := len(readings) / 4
	return it.median(readings[n : 2*n]), it.median(readings[3*n:])
}

func (it thing) median(readings []reading) float64 {
	values := make([]float64, len(readings))
	for i, r := range readings {
		values[i] = it.of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// watch reads until ctx ends.
func (s *sidecar) watch(ctx context.Context, t *testing.T, dir string, every time.Duration) (readings []reading) {
	t.Helper()
	at := s.watched(t)
	for ; ctx.Err() == nil; sleep.For(ctx, every) {
		now := metrics(t, at)
		readings = append(readings, reading{now["go_goroutines"], now["process_resident_memory_bytes"] / (1 << 20), onDiskMiB(dir)})
	}
	return readings
}

// onDiskMiB is how large the database in a directory is. Files that go meanwhile do not count.
func onDiskMiB(dir string) float64 {
	var bytes int64
	_ = filepath.WalkDir(filepath.Join(dir, "records"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return float64(bytes) / (1 << 20)
}

// What a sound run of 20 s read, each sixth reading, and the same with a leak of each kind.
func TestGrowthIsSeen(t *testing.T) {
	sound := []reading{
		{84, 41, 0}, {77, 48, 2}, {63, 46, 2}, {76, 47, 3}, {72, 48, 4}, {81, 49, 4},
		{73, 48, 5}, {73, 50, 5}, {87, 48, 6}, {61, 50, 6}, {79, 49, 6}, {68, 47, 7},
	}
	check.Equal(t, grown(sound), nil, "what grows in a sound run")
	for i, leak := range []reading{{goroutines: 30}, {memory: 8}, {disk: 10}} {
		leaking := slices.Clone(sound)
		for n := range leaking {
			leaking[n].goroutines += float64(n) * leak.goroutines
			leaking[n].memory += float64(n) * leak.memory
			leaking[n].disk += float64(n) * leak.disk
		}
		check.Equal(t, grown(leaking), []string{things[i].name}, "what grows")
	}
}
