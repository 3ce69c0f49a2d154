package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/cmd/onceward/internal/control"
)

const auditLong = `Show what happened to keys, oldest first, also to those that are gone: who acquired, completed, gave up, released or
resolved them, when, in which attempt, and why.

KEY-OR-ID is an id or its first digits, as onceward keys list prints it, or else the text of a key. Stores keep only hashes
of keys: the hash of the text is looked for, in every scope and operation.

There is a trail where the proxy was started with --audit transitions or --audit all, from then on, for its
--audit-retention. Without an id all that it holds since --since is read.`

// auditor is what audit is told.
type auditor struct {
	operator

	operation string
	since     time.Duration // before now; 0 is all
	limit     int
}

func newAudit() *cobra.Command {
	a := &auditor{}
	cmd := &cobra.Command{
		Use:   "audit [KEY-OR-ID]",
		Short: "Show what happened to keys, also to those that are gone",
		Long:  auditLong,
		Example: `  onceward audit 3f2a1b4c5d6e
  onceward audit order-4711
  onceward audit --since 24h --operation 'POST /orders'`,
		Args: a.arguments,
		RunE: func(cmd *cobra.Command, args []string) error { return a.run(cmd, args) },
	}
	cmd.Flags().SortFlags = false
	add(cmd, &a.since, "since", "", "TIME", "only what happened in that time before now", atLeast(time.Millisecond))
	cmd.Flags().StringVar(&a.operation, "operation", "", "only what happened to keys of this `OPERATION`, such as 'POST /orders'")
	add(cmd, &a.limit, "limit", "1000", "N", "at most so many entries, the oldest", limit)
	a.flags(cmd)
	return cmd
}

// arguments wants a key, or a time.
func (a *auditor) arguments(_ *cobra.Command, args []string) error {
	switch {
	case len(args) > 1:
		return fmt.Errorf("unexpected %q: want one KEY-OR-ID", args[1])
	case len(args) == 0 && a.since == 0:
		return errors.New("KEY-OR-ID is missing: want an id or a key, or --since for all that happened, such as --since 24h")
	case len(args) == 1 && args[0] == "":
		return errors.New(`the KEY-OR-ID "" is empty: want an id, or what the client sent`)
	default:
		return nil
	}
}

func (a *auditor) run(cmd *cobra.Command, args []string) error {
	return a.operate(cmd, func(ctx context.Context, d desk) error {
		q := control.AuditQuery{Operation: a.operation, Limit: a.limit}
		if a.since > 0 {
			q.Since = time.Now().Add(-a.since)
		}
		trail, err := find(ctx, d, q, args)
		if err != nil {
			return err
		}
		if trail.More {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "only the oldest %d are shown; --limit shows more, and --since begins later\n", a.limit)
		}
		out := cmd.OutOrStdout()
		return a.print(out, trail.Entries, func() {
			if len(trail.Entries) == 0 {
				_, _ = fmt.Fprintln(out, "nothing is told of that. A trail is kept while the proxy runs with --audit transitions or --audit all")
				return
			}
			trailTable(out, trail.Entries)
		})
	})
}

// find takes what could be an id for one, and for a key if there is no such id: an order's number may look like either.
func find(ctx context.Context, d desk, q control.AuditQuery, args []string) (control.Trail, error) {
	if len(args) == 0 {
		return d.Audit(ctx, q)
	}
	if control.CheckID(args[0]) == nil {
		q.ID = args[0]
		trail, err := d.Audit(ctx, q)
		if !control.IsNotFound(err) && (err != nil || len(trail.Entries) > 0) {
			return trail, err
		}
	}
	q.ID, q.KeyTag = "", control.KeyTag(args[0])
	return d.Audit(ctx, q)
}

// trailTable prints what all entries have in common first.
func trailTable(out io.Writer, entries []control.Entry) {
	first := &entries[0]
	many := slices.ContainsFunc(entries, func(e control.Entry) bool { return e.ID != first.ID })
	head := []string{"TIME", "STEP", "ATTEMPT", "FENCE", "OUTCOME", "ACTOR", "NODE", "REASON", "TRACE"}
	if many {
		head = slices.Insert(head, 1, "ID", "OPERATION", "KEY")
	} else {
		table(out, [][]string{
			{"id", first.ID}, {"operation", plain(first.Operation)}, {"key", plain(first.KeyHint)}, {"key tag", first.KeyTag},
		})
		_, _ = fmt.Fprintln(out)
	}
	rows := [][]string{head}
	for i := range entries {
		e := &entries[i]
		row := []string{
			e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), e.Step, strconv.Itoa(e.Attempt), strconv.FormatUint(e.Fence, 10),
			e.Outcome, cut(plain(e.Actor)), cut(plain(e.Node)), cut(plain(e.Reason)), cut(plain(e.TraceID)),
		}
		if many {
			row = slices.Insert(row, 1, shortID(e.ID), cut(plain(e.Operation)), plain(e.KeyHint))
		}
		rows = append(rows, row)
	}
	table(out, rows)
}
