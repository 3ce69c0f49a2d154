package main

import (
	"cmp"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// table is what is printed together. Its rows are measured alternately, so that they share whatever else happens.
type table struct {
	name, title string
	durable     bool                           // it is about a disk, so there has to be one
	service     *service                       // whose CPU has a column; nil without one
	begin       func() (end func(), err error) // before the first row is sampled; nil if there is nothing to do
	rows        []row
	custom      func() (header []string, lines [][]string, err error) // in place of rows
}

// row is one way to do a piece of work.
type row struct {
	name    string
	against string // the row that is 1; empty for one that is
	ceiling string // the row that does the least anybody could do; empty where nobody asks
	targets []target
	// sample works for about that long, and writes a CPU profile of it unless the file is "".
	sample func(length time.Duration, profile string) (sample, error)
}

// sample is what a row did in one round.
type sample struct {
	ops     int
	elapsed time.Duration
	cpu     time.Duration // of all processes that took part; 0 if one of them is not known
	server  time.Duration // of cpu, what the service took
	logged  uint64        // bytes that the service wrote to its log
	allocs  uint64        // of the process that does the work, not of the one that asks for it; 0 if not known
}

func (s *sample) perOp() float64 { return float64(s.elapsed) / float64(s.ops) }

// figures are the medians over all rounds that count.
type figures struct {
	ratio, least, most float64 // of the speed, the row that is 1 against this
	ofCeiling          float64 // of the speed, the row that does the least against this
	ns, cpu, server    float64 // per operation
	logged, mostLogged float64 // per operation; most is in any round
	allocs, extra      float64 // per operation; extra is beyond the row that is 1
	bytes, goroutines  float64 // held by each
}

// keep leaves the rows that are asked for, and those that they are measured against. It reports whether there is anything
// to measure; a table whose name is asked for keeps all its rows.
func (t *table) keep(only string) bool {
	if strings.Contains(t.name, only) {
		return true
	}
	kept := map[string]bool{}
	for _, r := range t.rows {
		if strings.Contains(r.name, only) {
			kept[r.name], kept[r.against], kept[r.ceiling] = true, true, true
		}
	}
	t.rows = slices.DeleteFunc(t.rows, func(r row) bool { return !kept[r.name] })
	return len(t.rows) > 0
}

func (t *table) measure(c config) (header []string, lines [][]string, err error) {
	if t.custom != nil {
		return t.custom()
	}
	if t.begin != nil {
		end, err := t.begin()
		if err != nil {
			return nil, nil, err
		}
		defer end()
	}
	rounds, err := t.sampleAll(c)
	if err != nil {
		return nil, nil, err
	}
	header = []string{"row", "speed", "[min..max]", "ns/op", "CPU ns/op", "allocs/op", "target"}
	if t.service != nil {
		header = slices.Insert(header, 5, t.service.columns()...)
	}
	for i, r := range t.rows {
		f := t.figures(i, rounds)
		speed, spread := "1", ""
		if r.against != "" {
			speed, spread = fmt.Sprintf("%.2f", f.ratio), fmt.Sprintf("[%.2f..%.2f]", f.least, f.most)
		}
		line := []string{
			r.name, speed, spread, fmt.Sprintf("%.0f", f.ns), ifKnown("%.0f", f.cpu), ifKnown("%.1f", f.allocs),
			judge(r.targets, f),
		}
		if t.service != nil {
			line = slices.Insert(line, 5, t.service.cells(f)...)
		}
		lines = append(lines, line)
	}
	return header, lines, nil
}

func ifKnown(format string, n float64) string {
	if n == 0 {
		return "?"
	}
	return fmt.Sprintf(format, n)
}

// sampleAll measures each row once a round. Each round starts with another row; the first round warms up and is discarded.
func (t *table) sampleAll(c config) ([][]sample, error) {
	var rounds [][]sample
	for n := range c.rounds + 1 {
		round := make([]sample, len(t.rows))
		for i := range t.rows {
			at := (n + i) % len(t.rows)
			r := t.rows[at]
			profile := ""
			if c.profiles != "" && n == c.rounds {
				profile = filepath.Join(c.profiles, fileName.Replace(t.name+" "+r.name)+".prof")
			}
			s, err := r.sample(c.length, profile)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			if s.ops == 0 {
				return nil, fmt.Errorf("%s: nothing done in %v", r.name, c.length)
			}
			round[at] = s
		}
		rounds = append(rounds, round)
	}
	return rounds[1:], nil
}

var fileName = strings.NewReplacer(" ", "-", ",", "", "/", "-")

func (t *table) figures(at int, rounds [][]sample) figures {
	over := func(other string, of func(mine, ref sample) float64) []float64 {
		reference := at
		if other != "" {
			reference = slices.IndexFunc(t.rows, func(r row) bool { return r.name == other })
		}
		values := make([]float64, len(rounds))
		for i, round := range rounds {
			values[i] = of(round[at], round[reference])
		}
		slices.Sort(values)
		return values
	}
	perOp := func(of func(sample) float64) float64 {
		return median(over("", func(mine, _ sample) float64 { return of(mine) / float64(mine.ops) }))
	}
	faster := func(mine, ref sample) float64 { return ref.perOp() / mine.perOp() }
	ratios := over(t.rows[at].against, faster)
	logged := over("", func(mine, _ sample) float64 { return float64(mine.logged) / float64(mine.ops) })
	allocs := func(s sample) float64 { return float64(s.allocs) / float64(s.ops) }
	return figures{
		ratio: median(ratios), least: ratios[0], most: ratios[len(ratios)-1],
		ofCeiling: median(over(t.rows[at].ceiling, faster)),

		ns:     perOp(func(s sample) float64 { return float64(s.elapsed) }),
		cpu:    perOp(func(s sample) float64 { return float64(s.cpu) }),
		server: perOp(func(s sample) float64 { return float64(s.server) }),
		logged: median(logged), mostLogged: logged[len(logged)-1],
		allocs: perOp(func(s sample) float64 { return float64(s.allocs) }),
		extra:  median(over(t.rows[at].against, func(mine, ref sample) float64 { return allocs(mine) - allocs(ref) })),
	}
}

// median is that of sorted values.
func median[T cmp.Ordered](sorted []T) T { return sorted[len(sorted)/2] }

// target is what a figure ought to be: at least something, or at most something, which may be 0.
type target struct {
	what            string
	of              func(figures) float64
	atLeast, atMost float64
}

func speed(atLeast float64) target {
	return target{what: "", of: func(f figures) float64 { return f.ratio }, atLeast: atLeast}
}

func ofCeiling(atLeast float64) target {
	return target{what: " of the ceiling", of: func(f figures) float64 { return f.ofCeiling }, atLeast: atLeast}
}

func nanoseconds(atMost float64) target {
	return target{what: " ns", of: func(f figures) float64 { return f.ns }, atMost: atMost}
}

// Allocations are judged as they are printed: a hundredth is a map that grew, not something that each operation does.
func allocations(atMost float64) target {
	return target{what: " allocs", of: func(f figures) float64 { return tenths(f.allocs) }, atMost: atMost}
}

func extraAllocations(atMost float64) target {
	return target{what: " extra allocs", of: func(f figures) float64 { return tenths(f.extra) }, atMost: atMost}
}

func tenths(n float64) float64 { return math.Round(10*n) / 10 }

func goroutines(atMost float64) target {
	return target{what: " goroutines", of: func(f figures) float64 { return f.goroutines }, atMost: atMost}
}

// nothingLogged is judged by the round in which most was.
var nothingLogged = target{what: " B logged", of: func(f figures) float64 { return f.mostLogged }}

func size(atMost float64) target {
	return target{what: " B", of: func(f figures) float64 { return f.bytes }, atMost: atMost}
}

var kibibyte = size(1 << 10)

func (t target) verdict(f figures) string {
	value, sign, bound := t.of(f), "≤", t.atMost
	met := value <= bound
	if t.atLeast != 0 {
		sign, bound, met = "≥", t.atLeast, value >= t.atLeast
	}
	if met {
		return fmt.Sprintf("%s %v%s: met", sign, bound, t.what)
	}
	return fmt.Sprintf("%s %v%s: MISSED, %.2f", sign, bound, t.what, value)
}

func judge(targets []target, f figures) string {
	var verdicts []string
	for _, t := range targets {
		verdicts = append(verdicts, t.verdict(f))
	}
	return strings.Join(verdicts, "; ")
}
