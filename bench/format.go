package main

import (
	"strings"
	"text/tabwriter"
)

func heading(t *table, markdown bool) string {
	if markdown {
		return "### " + t.title
	}
	return t.name + ": " + t.title
}

func format(header []string, lines [][]string, markdown bool) string {
	var out strings.Builder
	if markdown {
		out.WriteString("| " + strings.Join(header, " | ") + " |\n|" + strings.Repeat("---|", len(header)) + "\n")
		for _, line := range lines {
			out.WriteString("| " + strings.Join(line, " | ") + " |\n")
		}
		return out.String()
	}
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, line := range append([][]string{header}, lines...) {
		_, _ = w.Write([]byte(strings.Join(line, "\t") + "\n"))
	}
	_ = w.Flush() // a strings.Builder takes everything
	return out.String()
}
