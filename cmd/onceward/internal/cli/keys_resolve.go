package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/cmd/onceward/internal/control"
)

const resolveLong = `End the doubt about a key, once you have found out how the operation ended.

--done      it took effect. A retry is told that it ended, and that its answer is not kept. With --status, and --header and
            --body, a retry gets this answer instead.
--release   it did not take effect, and cannot any more: the next request with this key runs.

The key must still have the fence that is seen when the command begins, or that --fence says: if it has gone on meanwhile,
nothing is changed. Who resolved it and why is kept with it.`

// resolver is what resolve is told.
type resolver struct {
	operator
	reply

	done, release, force bool
	reason               string
	fence                uint64
}

func newKeysResolve() *cobra.Command {
	f := &resolver{}
	cmd := &cobra.Command{
		Use:   "resolve ID --done|--release --reason TEXT",
		Short: "End the doubt about a key",
		Long:  resolveLong,
		Example: `  onceward keys resolve 3f2a1b4c5d6e --done --reason 'the bank has it, transfer 4711'
  onceward keys resolve 3f2a1b4c5d6e --release --reason 'the bank never saw it'
  onceward keys resolve 3f2a1b4c5d6e --done --reason 'found order 12' --status 201 --header 'Location: /orders/12'`,
		Args: idArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().BoolVar(&f.done, "done", false, "it took effect")
	cmd.Flags().BoolVar(&f.release, "release", false, "it did not: the next request with this key runs")
	add(cmd, &f.reason, "reason", "", "TEXT", "how you know (required)", reasonText)
	f.reply.flags(cmd)
	add(cmd, &f.fence, "fence", "", "N", "only if the key has this fence", fenceNumber)
	cmd.Flags().BoolVar(&f.force, "force", false, "also a key that is running or done; an owner that still lives has then lost it")
	f.operator.flags(cmd)
	return cmd
}

func (f *resolver) check() error {
	switch {
	case f.done == f.release:
		return errors.New("want either --done, if it took effect, or --release, if it did not and the next request shall run it")
	case f.reason == "":
		return errors.New("--reason is missing: say how you know what happened, such as --reason 'the bank has it, transfer 4711'")
	case f.release && f.given():
		return errors.New("--status, --header and --body are for --done: a key that is released has no answer")
	default:
		return f.reply.check()
	}
}

func (f *resolver) run(cmd *cobra.Command, id string) error {
	if err := f.check(); err != nil {
		return err
	}
	outcome, bytes, err := f.outcome(cmd.Context(), cmd.InOrStdin())
	if err != nil {
		return err
	}
	return f.operate(cmd, func(ctx context.Context, d desk) error {
		before, err := d.Get(ctx, id)
		if err != nil {
			return err
		}
		if err := f.fits(&before); err != nil {
			return err
		}
		for _, warning := range append(f.warnings(&before), f.reply.warnings()...) {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+warning)
		}
		after, err := d.Resolve(ctx, control.Resolution{
			ID: before.ID, Fence: before.Fence, Outcome: outcome, Bytes: bytes, Force: f.force, Actor: actor(), Reason: f.reason,
		})
		if err != nil {
			return err
		}
		return f.print(cmd.OutOrStdout(), resolved{before, after}, func() { f.show(cmd.OutOrStdout(), &before, &after) })
	})
}

// outcome is what is stored: none for a release, a tombstone if there is no answer.
func (f *resolver) outcome(ctx context.Context, stdin io.Reader) (kind string, bytes []byte, err error) {
	switch {
	case f.release:
		return "", nil, nil
	case f.status == 0:
		return "tombstone", []byte(`{"reason":"resolved"}`), nil // in the form that oncehttp tells to those who retry
	default:
		bytes, err := f.encode(ctx, stdin)
		return "answer", bytes, err
	}
}

// fits refuses what would not do what the operator means.
func (f *resolver) fits(r *control.Record) error {
	switch {
	case f.fence > r.Fence:
		return fmt.Errorf("nothing was changed: the key is %s and has fence %d, and no attempt of it has had the %d of --fence yet; "+
			"look at it again: %s", r.State, r.Fence, f.fence, f.command("keys", "get", shortID(r.ID)))
	case f.fence != 0 && f.fence != r.Fence:
		return fmt.Errorf("nothing was changed: the key is %s and has fence %d, not the %d of --fence: it has gone on since; look at "+
			"it again: %s", r.State, r.Fence, f.fence, f.command("keys", "get", shortID(r.ID)))
	case f.status != 0 && !isHTTP(r.Operation):
		return fmt.Errorf("nothing was changed: the operation %q is not a method and a path, so its retries do not get an HTTP answer: "+
			"use Guard.ResolveResult in the program that runs it, or --done without --status", plain(r.Operation))
	case r.State != "in-doubt" && !f.force:
		return fmt.Errorf("nothing was changed: the key is not in doubt. %s --force resolves it nevertheless", f.explain(r))
	default:
		return nil
	}
}

// alive is how long after its last sign of life an owner may well stand still rather than be dead: a machine that was
// suspended or swaps, a container that was paused.
const alive = 5 * time.Minute

// warnings are what an operator should know who ends the doubt about an attempt that may go on.
func (f *resolver) warnings(r *control.Record) (warnings []string) {
	owner := cmp.Or(plain(r.Node), "its owner")
	switch {
	case r.State == "done":
		warnings = append(warnings, "it was done: retries may have got the answer that was stored before")
	case r.LeaseLeft > 0:
		warnings = append(warnings, fmt.Sprintf("%s holds the key for another %s, and may be about to act", owner, span(r.LeaseLeft)))
	case !r.GivenUp && -r.LeaseLeft < control.Seconds(alive):
		warnings = append(warnings, fmt.Sprintf("%s gave its last sign of life just before the lease was over, %s ago: it may stand "+
			"still rather than be dead, and act when it goes on", owner, span(-r.LeaseLeft)))
	}
	if len(warnings) > 0 && f.release {
		warnings = append(warnings, "the next request runs the operation: if the old attempt acts too, it takes effect twice")
	}
	return warnings
}

// resolved is what is printed as JSON.
type resolved struct {
	Before control.Record `json:"before"`
	After  control.Record `json:"after"`
}

func (f *resolver) show(out io.Writer, before, after *control.Record) {
	rows := [][]string{
		{"id", before.ID},
		{"operation", plain(before.Operation)},
		{"was", fmt.Sprintf("%s, began %s ago", before.State, span(before.Age))},
		{"attempt", fmt.Sprintf("%d, fence %d", before.Attempt, before.Fence)},
	}
	if before.State == "done" {
		rows[2][1] = "done, " + span(before.Age) + " ago"
	}
	if before.Node != "" {
		rows = append(rows, []string{"node", plain(before.Node)})
	}
	if note := strings.TrimPrefix(plain(before.Actor)+": "+plain(before.Reason), ": "); note != "" {
		rows = append(rows, []string{"last note", note})
	}
	table(out, append(rows, []string{"is", f.became(after)}))
}

// became says what the key is now.
func (f *resolver) became(after *control.Record) string {
	switch {
	case f.release:
		return "free: the next request with this key runs"
	case f.status != 0:
		return fmt.Sprintf("done: a retry gets this answer, status %d, for %s", f.status, span(after.ExpiresIn))
	default:
		return fmt.Sprintf("done: a retry is refused%s, for %s", refusedAs(after), span(after.ExpiresIn))
	}
}

// actor is who resolves, as the record keeps it.
func actor() string {
	u, err := user.Current()
	switch person := os.Getenv("SUDO_USER"); {
	case err != nil:
		return "cli"
	case person != "" && person != u.Username:
		return "cli:" + person + " as " + u.Username
	default:
		return "cli:" + u.Username
	}
}
