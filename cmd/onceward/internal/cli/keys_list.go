package cli

import (
	"context"
	"fmt"
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

func newKeysList() *cobra.Command {
	l := &lister{}
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List keys",
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
text does not leave this command.`,
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
	add(cmd, &l.Limit, "limit", "100", "N", "at most so many", func(text string) (int, error) {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > control.MaxLimit {
			return 0, fmt.Errorf("want a number from 1 to %d", control.MaxLimit)
		}
		return n, nil
	})
	cmd.Flags().BoolVarP(&l.quiet, "quiet", "q", false, "print ids only, whole ones")
	l.operator.flags(cmd)
	cmd.MarkFlagsMutuallyExclusive("quiet", "json")
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
	return l.operate(cmd, func(ctx context.Context, d desk) error {
		page, err := d.List(ctx, l.Query)
		if err != nil {
			return err
		}
		out, errs := cmd.OutOrStdout(), cmd.ErrOrStderr()
		if page.More {
			_, _ = fmt.Fprintf(errs, "only the first %d are shown; --limit shows more\n", l.Limit)
		}
		return l.print(out, page.Records, func() {
			switch {
			case l.quiet:
				for _, r := range page.Records {
					_, _ = fmt.Fprintln(out, r.ID)
				}
			case len(page.Records) == 0:
				_, _ = fmt.Fprintln(out, none)
			default:
				recordTable(out, page.Records)
			}
		})
	})
}
