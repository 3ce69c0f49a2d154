package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func newSweep() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Remove expired keys now",
		Long: `Remove expired keys now. A process that holds the store does so by itself, and expired keys count as absent in any case:
this only makes room.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.operate(cmd, func(ctx context.Context, d desk) error {
				removed, err := d.Sweep(ctx)
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				return o.print(out, map[string]int{"removed": removed}, func() { _, _ = fmt.Fprintf(out, "%d expired keys removed\n", removed) })
			})
		},
	}
	o.flags(cmd)
	return cmd
}
