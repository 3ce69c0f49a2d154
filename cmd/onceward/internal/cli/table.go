package cli

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/onceward/onceward/cmd/onceward/internal/control"
)

const (
	shownDigits = 12 // of an id
	shownRunes  = 60 // of a text in a table
)

// table prints rows in columns. The first row is the head.
func table(out io.Writer, rows [][]string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		_, _ = fmt.Fprintln(w, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	_ = w.Flush()
}

func recordTable(out io.Writer, records []control.Record) {
	rows := [][]string{{"ID", "STATE", "OPERATION", "KEY", "ATTEMPT", "FENCE", "AGE", "NODE", "REASON"}}
	for i := range records {
		r := &records[i]
		rows = append(rows, []string{
			shortID(r.ID), r.State, cut(plain(r.Operation)), plain(r.KeyHint), strconv.Itoa(r.Attempt),
			strconv.FormatUint(r.Fence, 10), span(r.Age), cut(plain(r.Node)), cut(plain(r.Reason)),
		})
	}
	table(out, rows)
}

// recordFields prints all that is known of a key, a line each.
func recordFields(out io.Writer, r *control.Record) {
	rows := [][]string{{"id", r.ID}, {"state", r.State}}
	add := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	addText := func(name, text string) {
		if text != "" {
			add(name, "%s", plain(text))
		}
	}
	addText("operation", r.Operation)
	addText("route", r.Route)
	addText("host", r.Host)
	addText("key", r.KeyHint)
	addText("key tag", r.KeyTag)
	addText("scope tag", r.ScopeTag)
	if r.OnCrash == "rerun" && r.State != "done" {
		add("attempt", "%d of at most %d", r.Attempt, r.MaxAttempts)
	} else {
		add("attempt", "%d", r.Attempt)
	}
	add("fence", "%d", r.Fence)
	add("on crash", "%s", r.OnCrash)
	if r.State == "done" {
		add("done", "%s ago", span(r.Age))
	} else {
		add("began", "%s ago", span(r.Age))
		add("lease", "%s", lease(r))
		add("max execution", "%s", span(r.MaxExecution))
	}
	add("expires", "in %s", span(r.ExpiresIn))
	addText("outcome", r.Outcome)
	if t := r.Tombstone; t != nil {
		addText("not kept", t.Reason)
		if t.Status != 0 {
			add("status", "%d", t.Status)
		}
		addText("location", t.Location)
	}
	addText("node", r.Node)
	addText("actor", r.Actor)
	addText("reason", r.Reason)
	addText("trace", r.TraceID)
	table(out, rows)
}

func lease(r *control.Record) string {
	switch {
	case r.GivenUp:
		return "given up " + span(-r.LeaseLeft) + " ago"
	case r.LeaseLeft > 0:
		return span(r.LeaseLeft) + " left"
	default:
		return "over for " + span(-r.LeaseLeft)
	}
}

func shortID(id string) string { return id[:min(len(id), shownDigits)] }

// plain is a text in which nothing is left that a terminal would obey.
func plain(text string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '\uFFFD'
		}
		return c
	}, text)
}

func cut(text string) string {
	if runes := []rune(text); len(runes) > shownRunes {
		return string(runes[:shownRunes-1]) + "…"
	}
	return text
}

// span is a duration in two units at most, such as 3d4h, 2h5m, 7m30s, 12s or 250ms.
func span(s control.Seconds) string {
	d := max(0, time.Duration(s))
	const day = 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd%dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm%ds", d/time.Minute, d%time.Minute/time.Second)
	case d >= time.Second:
		return fmt.Sprintf("%ds", d/time.Second)
	default:
		return fmt.Sprintf("%dms", d/time.Millisecond)
	}
}
