//go:build torture

package partitions

import (
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/proof/kills"
	"github.com/onceward/onceward/proof/report"
)

func TestMain(m *testing.M) {
	Work()
	os.Exit(m.Run())
}

const lease = time.Second

var services = []string{"redis", "postgres", "mariadb"}

// cuts are n of all kinds but the last and of all lengths, and of all that may come together with them, from the first on.
func cuts(first, n int) []cut {
	lengths := []time.Duration{lease / 2, lease * 9 / 10, lease, lease * 11 / 10, lease * 2}
	var all []cut
	for i := first; i < first+n; i++ {
		all = append(all, cut{
			Kind: kind(i * 2 % int(forget)), Lasts: lengths[(i+i/len(lengths))%len(lengths)],
			After: lease / 3 * time.Duration(i%4) / 4, Packets: i%2 == 0, Midway: i%3 == 1, Resolve: i%7 == 6,
		})
	}
	return all
}

// run makes so many cuts in each scene, those of a scene one after the other, and adds up.
func run(t *testing.T, scenes []*scene, cuts func(i int) []cut) *verdict {
	t.Helper()
	verdicts, errs := make([]*verdict, len(scenes)), make([]error, len(scenes))
	var all sync.WaitGroup
	for i, s := range scenes {
		all.Go(func() { verdicts[i], errs[i] = s.run(t.Context(), cuts(i)) })
	}
	all.Wait()
	check.NoError(t, errors.Join(errs...), "running")
	total := newVerdict()
	for i, s := range scenes {
		report.Linef(t, "%s: %v", s.name, verdicts[i])
		total.add(verdicts[i])
	}
	where := "with network namespaces"
	if err := namespaces(); err != nil {
		where = "by the proxy alone, because there are no network namespaces: " + err.Error()
	}
	report.Linef(t, "%s: %v", where, total)
	return total
}

func TestPartitions(t *testing.T) {
	t.Parallel() // it waits most of the time
	var scenes []*scene
	for _, service := range services {
		scenes = append(scenes, newScene(t, service, kills.Hold), newScene(t, service, kills.Rerun))
		if service != "redis" {
			scenes = append(scenes, newScene(t, service, kills.Tx))
		}
	}
	each := report.Size(8, 150)
	got := run(t, scenes, func(i int) []cut { return cuts(i*each, each) })
	got.check(t)
	for _, name := range []string{
		"refused", "late answers", "answers not stored yet", "doubted", "came back", "resolved", "taken over", "told while they ran",
		"got what is stored instead", "rolled back",
	} {
		check.True(t, got.counts[name] > 0, "%s: there are none, so that nothing is proven about them", name)
	}
}

// Connections that a router or a dead server has forgotten are silent when the network is back. A transaction on one keeps its key
// until the server notices, see idle_in_transaction_session_timeout in the documentation, and is not tried here.
func TestForgottenConnections(t *testing.T) {
	t.Parallel() // as above
	var scenes []*scene
	for _, service := range services {
		scenes = append(scenes, newScene(t, service, kills.Hold), newScene(t, service, kills.Rerun))
	}
	got := run(t, scenes, func(int) []cut {
		return slices.Repeat([]cut{{Kind: forget, Lasts: 2 * lease}, {Kind: forget, Lasts: lease / 2, Midway: true}}, report.Size(1, 4))
	})
	got.check(t)
	check.True(t, got.counts["came back"] > 0 && got.counts["taken over"] > 0, "nobody came back, or nobody was taken over: %v", got)
}

// A lease alone runs again what it cannot reach, and the same look at the same cuts has to see it.
func TestLeaseAloneShowsDuplicates(t *testing.T) {
	t.Parallel() // as above
	var scenes []*scene
	for _, service := range services {
		scenes = append(scenes, newScene(t, service, kills.TwoSteps))
	}
	got := run(t, scenes, func(int) []cut {
		return []cut{{Kind: blackHole, Lasts: 2 * lease, Packets: true}, {Kind: deaf, Lasts: 2 * lease}, {Kind: refuse, Lasts: 2 * lease}}
	})
	check.True(t, got.wrong["twice"] >= got.counts["cuts"]/2, "runs of the same key: %v", got)
}

// check wants that nothing was wrong, and that it would have been seen.
func (v *verdict) check(t *testing.T) {
	t.Helper()
	check.Equal(t, v.wrong, map[string]int{}, "what should not have happened: %s", strings.Join(v.words, "\n"))
	hit, cuts := v.counts["hit"], v.counts["cuts"]
	check.True(t, hit >= cuts*9/10, "%d of %d cuts hit an owner that ran: too few to prove anything", hit, cuts)
}
