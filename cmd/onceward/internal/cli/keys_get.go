package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/cmd/onceward/internal/control"
)

func newKeysGet() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{
		Use:     "get ID",
		Short:   "Show all that is known of a key, what it means and what can be done",
		Long:    "Show all that is known of a key, what it means and what can be done. Answers are not shown.",
		Example: "  onceward keys get 3f2a1b4c5d6e",
		Args:    idArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.operate(cmd, func(ctx context.Context, d desk) error {
				record, err := d.Get(ctx, args[0])
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				return o.print(out, record, func() {
					recordFields(out, &record)
					_, _ = fmt.Fprintf(out, "\n%s\n", o.explain(&record))
				})
			})
		},
	}
	o.flags(cmd)
	return cmd
}

// explain says what the state of a key means, and which command comes next.
func (o *operator) explain(r *control.Record) string {
	switch {
	case r.State == "in-doubt":
		return o.explainDoubt(r)
	case r.State == "done":
		return explainDone(r)
	case r.LeaseLeft > 0:
		return "An attempt runs. A retry is told to ask again later. There is nothing to do: if its owner dies, the lease is over in " +
			span(r.LeaseLeft) + "."
	default:
		return fmt.Sprintf("Attempt %d broke off, and the next request with this key runs it again. There is nothing to do; after "+
			"attempt %d it would be in doubt.", r.Attempt, r.MaxAttempts)
	}
}

func (o *operator) explainDoubt(r *control.Record) string {
	why := "The lease of its owner was over " + span(-r.LeaseLeft) + " ago, without an outcome: it died, or stands still."
	if r.GivenUp {
		why = "Its owner gave it up " + span(-r.LeaseLeft) + " ago"
		if r.Reason != "" {
			why += ": " + plain(r.Reason)
		}
		why += "."
	}
	id := shortID(r.ID)
	lines := []string{
		why,
		"Nobody is left who can say how it ended. A retry is refused, and it is not run again.",
		"Find out what happened" + at(r) + ". Then, if it took effect:",
		"  " + o.command("keys", "resolve", id, "--done", "--reason", "TEXT"),
		"if it did not, so that the next request with this key runs it:",
		"  " + o.command("keys", "resolve", id, "--release", "--reason", "TEXT"),
	}
	if isHTTP(r.Operation) {
		lines = append(lines, "With --done, --status and --body also say what retries get; without, they get 409 outcome-not-stored.")
	}
	return strings.Join(lines, "\n")
}

// at names where to look for what happened.
func at(r *control.Record) string {
	if r.Node == "" {
		return ""
	}
	return ", in the log of " + plain(r.Node) + " or behind it"
}

func explainDone(r *control.Record) string {
	if r.Outcome == "answer" {
		return "It ended, and its answer is kept: a retry gets it, for another " + span(r.ExpiresIn) + "."
	}
	return "It ended, and its answer was not kept. A retry is refused" + refusedAs(r) + ", for another " + span(r.ExpiresIn) +
		", and it is not run again."
}

// refusedAs says how a retry is refused whose answer was not kept.
func refusedAs(r *control.Record) string {
	if isHTTP(r.Operation) {
		return " with 409 outcome-not-stored"
	}
	return " with ErrNotStored"
}

// isHTTP reports whether the operation is that of a request: method and path.
func isHTTP(operation string) bool {
	method, path, _ := strings.Cut(operation, " ")
	return method != "" && strings.ToUpper(method) == method && strings.HasPrefix(path, "/")
}
