package kills

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/proof/report"
)

func TestMain(m *testing.M) {
	Work()
	os.Exit(m.Run())
}

// lease is a short one, so that what a dead worker held is soon given to somebody else.
const lease = 500 * time.Millisecond

// run runs a plan in folders of its own, and says what happened.
func run(t *testing.T, p plan) counters {
	t.Helper()
	p.prepare(t)
	got, err := p.run(t.Context())
	report.Linef(t, "seed %d, %+v", p.Seed, got)
	if p.Store != "memory:" {
		check.NoError(t, err, "running")
	}
	return got
}

func (p *plan) prepare(t *testing.T) {
	t.Helper()
	p.Seed = seed(t)
	p.Lease = lease
	p.Deaths = filepath.Join(t.TempDir(), "deaths")
	if p.Effects == nil {
		p.Ledger = filepath.Join(t.TempDir(), "effects")
		p.Effects = func() (map[string]int, error) { return lines(p.Ledger) }
	}
}

// size is how many kills there are: a few in every test run, all of them in a full torture, or what KILLS says.
func size(little, all int) int {
	if n, err := strconv.Atoi(os.Getenv("KILLS")); err == nil {
		return n
	}
	return report.Size(little, all)
}

func killsIn(mode Mode) int {
	if mode == Hold {
		return size(10, 2000)
	}
	return size(10, 1000)
}

func seed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("KILLS_SEED")
	if text == "" {
		return rand.Uint64()
	}
	n, err := strconv.ParseUint(text, 10, 64)
	check.NoError(t, err, "KILLS_SEED")
	return n
}

// lines counts the lines of a file.
func lines(file string) (map[string]int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	counts := map[string]int{}
	for line := range strings.Lines(string(text)) {
		counts[strings.TrimSuffix(line, "\n")]++
	}
	return counts, nil
}

func nothingWrong(t *testing.T, p plan, got counters) {
	t.Helper()
	check.Equal(t, [4]int{got.Lost, got.Differing, got.Unsettled, got.Failed}, [4]int{}, "lost, differing, unsettled, failed")
	if p.Mode != Rerun {
		check.Equal(t, got.Twice, 0, "operations that were done twice")
	}
	if p.Mode == Tx {
		check.Equal(t, [2]int{got.InDoubt, got.Keys - got.Acknowledged}, [2]int{}, "keys in doubt, and keys without an answer in the end")
	}
}

// keptItsPromise also wants that enough has happened.
func keptItsPromise(t *testing.T, p plan, got counters) {
	t.Helper()
	nothingWrong(t, p, got)
	check.True(t, got.Deaths >= p.Kills && got.BetweenEffectAndEnd >= p.Kills/5 && got.Acknowledged > 3*p.Kills &&
		got.Retries > 2*p.Kills && got.Leaves > p.Kills/5 && got.Unanswered > p.Kills/2,
		"too little happened for this to mean anything: %+v", got)
}

func TestDisk(t *testing.T) {
	for _, mode := range []Mode{Hold, Rerun} {
		t.Run(string(mode), func(t *testing.T) {
			p := plan{Kills: killsIn(mode), Workers: 1, Clients: 16, config: config{Mode: mode, Store: filepath.Join(t.TempDir(), "data")}}
			keptItsPromise(t, p, run(t, p))
		})
	}
}

// A store that dies with its worker breaks every promise, and the run has to see it.
func TestMemoryShowsWhatIsLookedFor(t *testing.T) {
	p := plan{Kills: 10, Workers: 1, Clients: 16, config: config{Mode: Hold, Store: "memory:"}}
	got := run(t, p)
	check.True(t, got.Twice > 0 && got.Differing > 0, "operations that were done twice, and answers that differ: %+v", got)
}

func TestRedis(t *testing.T) {
	for _, mode := range []Mode{Hold, Rerun} {
		t.Run(string(mode), func(t *testing.T) {
			p := plan{Kills: killsIn(mode), Workers: 4, Clients: 16, Freeze: true, config: config{Mode: mode, Store: testsvc.Redis(t).URL}}
			keptItsPromise(t, p, run(t, p))
		})
	}
}
