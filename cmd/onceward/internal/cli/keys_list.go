package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/cmd/onceward/internal/control"
)

// lister is what list and find are told.
type lister struct {
	operator
	control.Query

	quiet bool
}

const listLong = `List keys, those first that are oldest.

The table has the oldest 100 of them, or as many as --limit says; -q and --json have all, up to 10000. Beyond 10000 nobody
looks which are the oldest. Its columns are

ID         the first digits of the id, enough for onceward keys get and resolve
STATE      running; in-doubt, if nobody is left who can say how it ended; or done
OPERATION  what is done: method and path of a request, or the name of a function
KEY        a hint of the key: its first characters, and none of a short one. To find a key that you have: onceward keys find
ATTEMPT    which attempt of the operation it is, from 1
FENCE      a number that grows with each attempt of a key, and when it is resolved by force
AGE        since the attempt began or, if it is done, since it was done
NODE       the process that ran it
REASON     why it came to be in doubt, or what whoever resolved it said`

func newKeysList() *cobra.Command {
	l := &lister{}
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List keys",
		Long:    listLong,
		Args:    arguments(),
		Example: "  onceward keys list --state in-doubt",
		RunE:    func(cmd *cobra.Command, _ []string) error { return l.run(cmd, l.none()) },
	}
	cmd.Flags().SortFlags = false
	states := []string{"running", "in-doubt", "done"}
	add(cmd, &l.State, "state", "", "STATE", "only those in this state: running, in-doubt or done", oneOf(states, states...))
	cmd.Flags().StringVar(&l.Operation, "operation", "", "only those of this `OPERATION`, such as 'POST /orders'")
	l.flags(cmd)
	return cmd
}

func newKeysFind() *cobra.Command {
	l := &lister{}
	cmd := &cobra.Command{
		Use:   "find KEY",
		Short: "Find a key by its text, in every scope and operation",
		Long: `Find a key by its text, in every scope and operation. Stores keep only hashes of keys: this looks for the hash, and the
text does not leave this command. That there is no such key is an answer, too, and no error.`,
		Example: "  onceward keys find 0198c0de-7b1a-7c3e-8000-5f1d2c3b4a59",
		Args:    keyArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			l.KeyTag = control.KeyTag(args[0])
			return l.run(cmd, "no such key. It is looked for as it stands, without the quotes that a header may put around it")
		},
	}
	cmd.Flags().SortFlags = false
	l.flags(cmd)
	return cmd
}

func keyArgument(cmd *cobra.Command, args []string) error {
	if err := arguments("KEY")(cmd, args); err != nil {
		return err
	}
	if args[0] == "" {
		return fmt.Errorf("the KEY %q is empty: want what the client sent", args[0])
	}
	return nil
}

func (l *lister) flags(cmd *cobra.Command) {
	add(cmd, &l.Limit, "limit", "", "N", "at most so many, the oldest (100 in a table, else 10000)", limit)
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "print ids only, whole ones")
	l.operator.flags(cmd)
	cmd.MarkFlagsMutuallyExclusive("quiet", "json")
}

// limit reads how many may be shown.
func limit(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > control.MaxLimit {
		return 0, fmt.Errorf("want a number from 1 to %d", control.MaxLimit)
	}
	return n, nil
}

// none says that there are no such keys.
func (l *lister) none() string {
	text := "no keys"
	if l.State != "" {
		text = map[string]string{"running": "no running keys", "in-doubt": "no keys in doubt", "done": "no keys that are done"}[l.State]
	}
	if l.Operation != "" {
		text += " of " + plain(l.Operation)
	}
	return text
}

func (l *lister) run(cmd *cobra.Command, none string) error {
	q := l.Query
	all := q.Limit == 0 && (l.quiet || l.json) // a script that asks for no limit takes what it gets for everything
	if all {
		q.Limit = control.MaxLimit
	}
	return l.operate(cmd, func(ctx context.Context, d desk) error {
		page, err := d.List(ctx, q)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		err = l.print(out, page.Records, func() { l.show(out, page.Records, none) })
		missing := leftOut(&page)
		switch {
		case err != nil || missing == "":
			return err
		case all:
			return fmt.Errorf("%s; if that will do, say --limit %d", missing, control.MaxLimit)
		case q.Limit < control.MaxLimit:
			missing += "; --limit shows more"
		}
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), missing)
		return nil
	})
}

// leftOut says which records are not shown, if any.
func leftOut(page *control.Page) string {
	switch shown := len(page.Records); {
	case page.Found > control.MaxLimit:
		return fmt.Sprintf("only %d of more than %d are shown, not the oldest", shown, control.MaxLimit)
	case page.Found > shown:
		return fmt.Sprintf("only the oldest %d of %d are shown", shown, page.Found)
	default:
		return ""
	}
}

func (l *lister) show(out io.Writer, records []control.Record, none string) {
	switch {
	case l.quiet:
		for _, r := range records {
			_, _ = fmt.Fprintln(out, r.ID)
		}
	case len(records) == 0:
		_, _ = fmt.Fprintln(out, none)
	default:
		recordTable(out, records)
	}
}
