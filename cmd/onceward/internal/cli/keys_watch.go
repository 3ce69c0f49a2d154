package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/cmd/onceward/internal/control"
)

func newKeysWatch() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Show what happens to keys, as it happens",
		Long: `Show what happens to keys, as it happens, until Ctrl-C, a line for each event; --json prints an object in each line. The
store has to be held by a process that works with it. Who reads too slowly misses events, and is told how many.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := cmd.OutOrStdout()
			tell := func(event control.Event) error { return printEvent(out, &event) }
			if o.json {
				encoder := json.NewEncoder(out)
				encoder.SetEscapeHTML(false)
				tell = func(event control.Event) error { return encoder.Encode(event) }
			}
			return o.operate(cmd, func(ctx context.Context, d desk) error { return d.Watch(ctx, tell) })
		},
	}
	o.flags(cmd)
	return cmd
}

func printEvent(out io.Writer, e *control.Event) error {
	words := []string{fmt.Sprintf("%s %-17s", e.Time.Format("15:04:05.000"), plain(e.Step))}
	add := func(text string) {
		if text != "" {
			words = append(words, plain(text))
		}
	}
	add(shortID(e.ID))
	add(e.KeyHint)
	add(e.Operation)
	if e.Attempt > 0 {
		add(fmt.Sprintf("attempt=%d fence=%d", e.Attempt, e.Fence))
	}
	add(e.Outcome)
	if e.Count > 0 {
		add(fmt.Sprintf("count=%d", e.Count))
	}
	if e.Took > 0 {
		add("took=" + span(e.Took))
	}
	add(e.Reason)
	add(e.Error)
	if e.Missed > 0 {
		add(fmt.Sprintf("(%d events before this were missed)", e.Missed))
	}
	_, err := fmt.Fprintln(out, strings.TrimRight(strings.Join(words, " "), " "))
	return err
}
