package main

import (
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// scripted is a row that takes these times per operation, one for each round.
func scripted(name, against string, order *[]string, times ...time.Duration) row {
	round := 0
	return row{name: name, against: against, sample: func(time.Duration, string) (sample, error) {
		*order = append(*order, name)
		elapsed := 10 * times[round]
		round++
		return sample{
			ops: 10, elapsed: elapsed, cpu: 2 * elapsed, server: elapsed / 2,
			logged: uint64(70 * round), allocs: uint64(10 * round),
		}, nil
	}}
}

func TestRounds(t *testing.T) {
	var order []string
	slow := scripted("slow", "bare", &order, 1, 200, 800, 100)
	slow.ceiling = "least"
	slow.targets = []target{speed(0.5), ofCeiling(0.25), nanoseconds(150), extraAllocations(1), nothingLogged}
	table := table{name: "x", rows: []row{
		scripted("bare", "", &order, 900, 100, 200, 100), slow, scripted("least", "bare", &order, 1, 50, 100, 50),
	}}
	rounds, err := table.sampleAll(config{rounds: 3})
	check.NoError(t, err, "three rounds")
	check.Equal(t, strings.Join(order, ","), "bare,slow,least,slow,least,bare,least,bare,slow,bare,slow,least",
		"the order in which rows are measured")
	check.Equal(t, len(rounds), 3, "rounds that count")

	f := table.figures(1, rounds)
	want := figures{ratio: 0.5, least: 0.25, most: 1, ofCeiling: 0.25, ns: 200, cpu: 400, server: 100, logged: 21, mostLogged: 28, allocs: 3}
	check.Equal(t, f, want, "the figures of the slow row")
	check.Equal(t, judge(slow.targets, f),
		"≥ 0.5: met; ≥ 0.25 of the ceiling: met; ≤ 150 ns: MISSED, 200.00; ≤ 1 extra allocs: met; ≤ 0 B logged: MISSED, 28.00",
		"its verdicts")
}

func TestNothingDoneIsAnError(t *testing.T) {
	idle := row{name: "idle", sample: func(time.Duration, string) (sample, error) { return sample{}, nil }}
	_, err := (&table{rows: []row{idle}}).sampleAll(config{rounds: 1})
	check.True(t, err != nil, "a row that did nothing was counted")
}

func TestServicesHaveColumns(t *testing.T) {
	var order []string
	for _, c := range []struct {
		service     *service
		header, row string
	}{
		{nil, "allocs/op target", "2.0 "},
		{&service{name: "Redis"}, "of it Redis allocs/op target", "1 2.0 "},
		{&service{name: "MariaDB", logs: true}, "of it MariaDB log B/op allocs/op target", "1 14 2.0 "},
	} {
		table := table{service: c.service, rows: []row{scripted("bare", "", &order, 1, 2)}}
		header, lines, err := table.measure(config{rounds: 1})
		check.NoError(t, err, "a round")
		check.Equal(t, strings.Join(header[5:], " "), c.header, "the columns after the CPU")
		check.Equal(t, strings.Join(lines[0][5:], " "), c.row, "the cells after the CPU")
	}
}

func TestBegin(t *testing.T) {
	var order []string
	table := table{
		begin: func() (func(), error) {
			order = append(order, "begin")
			return func() { order = append(order, "end") }, nil
		},
		rows: []row{scripted("bare", "", &order, 1, 2)},
	}
	_, _, err := table.measure(config{rounds: 1})
	check.NoError(t, err, "a round")
	check.Equal(t, strings.Join(order, ","), "begin,bare,bare,end", "what was done")
}

func TestOnly(t *testing.T) {
	for only, want := range map[string]int{
		"http": 7, "": 7, "oncehttp": 3, "oncehttp, replay": 2, "fiber, bare": 1, "fiber idem": 3, "nothing": 0,
	} {
		table := httpTable()
		kept := table.keep(only)
		check.Equal(t, len(table.rows), want, "rows for -only %q", only)
		check.Equal(t, kept, want > 0, "whether anything is measured for -only %q", only)
	}
}

func TestFormat(t *testing.T) {
	header, lines := []string{"row", "ns"}, [][]string{{"a", "1"}, {"long", "22"}}
	check.Equal(t, format(header, lines, false), "row   ns\na     1\nlong  22\n", "the plain table")
	check.Equal(t, format(header, lines, true), "| row | ns |\n|---|---|\n| a | 1 |\n| long | 22 |\n", "the Markdown table")
}
