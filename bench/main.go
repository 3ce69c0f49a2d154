// Bench measures onceward against what it is built on and against others, as ratios within one run.
//
//	cd bench && GOWORK=off go run . [-rounds 9] [-for 300ms] [-only NAME] [-million] [-markdown] [-cpuprofile DIR]
//
// README.md says how to read what it prints.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

type config struct {
	rounds   int
	length   time.Duration
	only     string
	million  bool
	markdown bool
	profiles string
}

func main() {
	var c config
	var as string
	flag.IntVar(&c.rounds, "rounds", 9, "`rounds` that count; one more is run first and discarded")
	flag.DurationVar(&c.length, "for", 300*time.Millisecond, "how long each row is measured in a round")
	flag.StringVar(&c.only, "only", "", "measure only tables, or rows, whose `name` contains this")
	flag.BoolVar(&c.million, "million", false, "measure also what it takes to open a store of a million records")
	flag.BoolVar(&c.markdown, "markdown", false, "print Markdown")
	flag.StringVar(&c.profiles, "cpuprofile", "", "write a CPU profile of each row's last round to this `directory`")
	flag.StringVar(&as, "as", "", "be a `child` of this program; used by the program itself")
	flag.Parse()

	work := func() error { return run(c, os.Stdout) }
	if as != "" {
		work = func() error { return beChild(as, flag.Args()) }
	}
	if err := work(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(c config, out io.Writer) error {
	if c.rounds < 1 || c.length <= 0 {
		return fmt.Errorf("-rounds %d -for %v: both must be positive", c.rounds, c.length)
	}
	scratch, err := os.MkdirTemp("", "onceward-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	chosen := slices.DeleteFunc(tables(scratch, c.million), func(t *table) bool { return !t.keep(c.only) })
	if len(chosen) == 0 {
		return fmt.Errorf("-only %s: no table and no row has that in its name", c.only)
	}
	for _, t := range chosen {
		if err := t.want(scratch); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	fmt.Fprintf(out, "%s\n%s\n", machine(scratch), conditions(c))
	for _, t := range chosen {
		header, lines, err := t.measure(c)
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		fmt.Fprintf(out, "\n%s\n\n%s", heading(t, c.markdown), format(header, lines, c.markdown))
	}
	return nil
}

func tables(scratch string, million bool) []*table {
	all := []*table{
		storeTable(1), storeTable(2), engineTable(), httpTable(), memoryTable(), diskTable(scratch), proxyTable(scratch),
		redisTable(scratch), syncedRedisTable(scratch), redisRecordTable(scratch), redisHTTPTable(scratch),
	}
	all = append(all, postgresTables().all()...)
	all = append(all, postgresProxyTable(scratch))
	all = append(all, mariadbTables().all()...)
	if million {
		all = append(all, startTable(scratch, 1_000, 1_000_000))
	}
	return all
}

// want reports what is missing here, before anything is measured.
func (t *table) want(scratch string) error {
	if t.durable {
		if err := wantDisk(scratch); err != nil {
			return err
		}
	}
	if t.service != nil {
		return t.service.want()
	}
	return nil
}

func conditions(c config) string {
	return fmt.Sprintf("%d rounds of %v, rows in rotated order, one round discarded; the load generator shares the machine",
		c.rounds, c.length)
}
