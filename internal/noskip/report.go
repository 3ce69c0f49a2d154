package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
)

// event is a line of go test -json; see go doc cmd/test2json and go help buildjson.
type event struct {
	Action  string `json:"Action"`
	Package string `json:"Package"`
	Test    string `json:"Test"` // empty: the event is about the package
	Output  string `json:"Output"`
}

// reporter prints to out what people need to see of a stream of events.
type reporter struct {
	out     io.Writer
	outputs map[string]map[string][]string // by package and test, until the test has ended
	skipped []string
	failed  bool
	err     error // the first of out
}

// report reads events from in, and reports whether no test failed and none was skipped.
func report(in io.Reader, out io.Writer) (clean bool, err error) {
	r := reporter{out: out, outputs: map[string]map[string][]string{}}
	lines := bufio.NewReader(in)
	for err == nil {
		var line string
		line, err = lines.ReadString('\n')
		var e event
		if json.Unmarshal([]byte(line), &e) != nil {
			e = event{Action: "output", Output: line} // not every message of the go command is an event
		}
		r.event(e)
	}
	if !errors.Is(err, io.EOF) {
		return false, err
	}
	for _, name := range r.skipped {
		r.print("SKIPPED\t" + name + "\n")
	}
	return !r.failed && len(r.skipped) == 0, r.err
}

func (r *reporter) event(e event) {
	switch e.Action {
	case "output", "build-output":
		r.output(e)
	case "pass":
		delete(r.outputs[e.Package], e.Test)
	case "skip":
		if e.Test != "" {
			r.skipped = append(r.skipped, e.Package+" "+e.Test)
			r.printTest(e)
		}
	case "fail", "build-fail":
		r.failed = true
		if e.Test != "" {
			r.printTest(e)
			return
		}
		// A process that died left tests without an end, and what they said is the reason.
		for _, name := range slices.Sorted(maps.Keys(r.outputs[e.Package])) {
			r.printTest(event{Package: e.Package, Test: name})
		}
	}
}

func (r *reporter) output(e event) {
	switch {
	case e.Test == "" && e.Output == "PASS\n": // go test does not print it for lists of packages either
	case e.Test == "":
		r.print(e.Output)
	case strings.HasPrefix(e.Output, "=== "): // RUN, PAUSE, CONT, NAME
	default:
		if r.outputs[e.Package] == nil {
			r.outputs[e.Package] = map[string][]string{}
		}
		r.outputs[e.Package][e.Test] = append(r.outputs[e.Package][e.Test], e.Output)
	}
}

func (r *reporter) printTest(e event) {
	for _, line := range r.outputs[e.Package][e.Test] {
		r.print(line)
	}
	delete(r.outputs[e.Package], e.Test)
}

func (r *reporter) print(text string) {
	if _, err := io.WriteString(r.out, text); err != nil && r.err == nil {
		r.err = err
	}
}
