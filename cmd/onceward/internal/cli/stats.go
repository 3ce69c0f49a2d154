package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
)

func newStats() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count keys",
		Long:  "Count keys. All of them are read, which takes a while where there are millions.",
		Args:  arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.operate(cmd, func(ctx context.Context, d desk) error {
				s, err := d.Stats(ctx)
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				return o.print(out, s, func() {
					doubt := strconv.Itoa(s.InDoubt)
					if s.InDoubt > 0 {
						doubt += ", the oldest began " + span(s.OldestDoubt) + " ago; see " + o.command("keys", "list", "--state", "in-doubt")
					}
					table(out, [][]string{
						{"running", strconv.Itoa(s.Running)},
						{"in doubt", doubt},
						{"done", fmt.Sprintf("%d, %d of them without an answer", s.Done, s.Tombstones)},
					})
				})
			})
		},
	}
	o.flags(cmd)
	return cmd
}
