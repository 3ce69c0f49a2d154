package kills

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/onceward/onceward/internal/failpoint"
)

// points are where workers die that were built with the tag failpoint. Their lives take turns: each has one point, at which
// it ends.
type points struct {
	all    []failpoint.Point
	freeze bool // every tenth turn workers freeze there, for longer than a lease, and are ended gently when they thaw

	mu     sync.Mutex
	lives  int
	killed map[failpoint.Point]int
	frozen map[failpoint.Point]int
}

// pointsOf are those that a worker passes. In a transaction no sign of life is due as long as operations take here.
func pointsOf(c *config, freeze bool) *points {
	all := []failpoint.Point{
		failpoint.BeforeAcquire, failpoint.AfterAcquire, failpoint.BeforeComplete, failpoint.AfterComplete,
		failpoint.BeforeRelease, failpoint.AfterRelease,
	}
	switch {
	case c.Mode == Tx:
		all = append(all, failpoint.AfterTake, failpoint.BeforeCommit, failpoint.AfterCommit)
	case c.onDisk():
		all = append(all, failpoint.BeforeExtend, failpoint.BeforeSync, failpoint.AfterSync)
	default:
		all = append(all, failpoint.BeforeExtend)
	}
	return &points{all: all, freeze: freeze, killed: map[failpoint.Point]int{}, frozen: map[failpoint.Point]int{}}
}

// Few attempts are released, and fewer show a sign of life. The chances of dying there make up for that.
var chances = map[failpoint.Point]float64{failpoint.BeforeRelease: 0.5, failpoint.AfterRelease: 0.5, failpoint.BeforeExtend: 1}

// next is the point of the next life, as ONCEWARD_FAILPOINT says it.
func (p *points) next() string {
	if p == nil {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	point, turn := p.all[p.lives%len(p.all)], p.lives/len(p.all)
	p.lives++
	chance := cmp.Or(chances[point], 0.05)
	text := fmt.Sprintf("%s:%v", point, chance)
	if p.freeze && turn%10 == 5 {
		text += ":freeze"
	}
	return text
}

// enough reports whether so many workers have died at each point.
func (p *points) enough(want int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !slices.ContainsFunc(p.all, func(at failpoint.Point) bool {
		return p.killed[at] < want || p.freeze && p.frozen[at] == 0
	})
}

func (p *points) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var text strings.Builder
	for _, at := range p.all {
		fmt.Fprintf(&text, " %s %d", at, p.killed[at])
		if p.freeze {
			fmt.Fprintf(&text, "+%d", p.frozen[at])
		}
	}
	return text.String()
}

// lastWords is what a worker says on standard error.
type lastWords struct {
	strings.Builder

	points *points // nil without
	frozen func()  // is called whenever the worker freezes
	thaw   func()  // ends that after a while
	killed bool    // at a point
}

// Write is called with whole lines, because the worker writes them so.
func (w *lastWords) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		if at, ok := strings.CutPrefix(line, "failpoint: killed at "); ok {
			w.killed = true
			w.points.hit(w.points.killed, at)
		}
		if at, ok := strings.CutPrefix(line, "failpoint: frozen at "); ok {
			w.points.hit(w.points.frozen, at)
			w.frozen()
			w.thaw()
		}
	}
	return w.Builder.Write(p)
}

func (p *points) hit(counts map[failpoint.Point]int, at string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	counts[failpoint.Point(strings.TrimSpace(at))]++
}
