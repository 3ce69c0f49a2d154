package cli

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"
)

const backupLong = `Copy the data directory DIR, which a proxy has as its --store, into TARGET, which must not exist. A process may work
with DIR meanwhile.

The copy shares files with DIR where the file system allows it: move it to another disk. It does not know what happened
after it was made, so whoever restores it runs retries of those operations again. TARGET is written by the process that
holds DIR, if there is one, as its user.`

func newBackup() *cobra.Command {
	o := &operator{}
	cmd := &cobra.Command{
		Use:     "backup DIR TARGET",
		Short:   "Copy a data directory, also one in use",
		Long:    backupLong,
		Example: "  onceward backup ./onceward-data /mnt/backup/onceward-$(date +%F)",
		Args:    arguments("DIR", "TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.store = args[0]
			target, err := backupTarget(args[0], args[1])
			if err != nil {
				return err
			}
			return o.operate(cmd, func(ctx context.Context, d desk) error {
				if err := d.Backup(ctx, target); err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				return o.print(out, map[string]string{"target": target}, func() {
					_, _ = fmt.Fprintf(out, "%s has a copy; move it to another disk\n", target)
				})
			})
		},
	}
	o.jsonFlag(cmd)
	return cmd
}

// backupTarget is absolute, because the process that writes it may have been started elsewhere.
func backupTarget(dir, target string) (string, error) {
	absolute, err := filepath.Abs(target)
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if inside, err := filepath.Rel(dir, absolute); err == nil && filepath.IsLocal(inside) {
		return "", fmt.Errorf("TARGET %q is inside DIR, and would be lost with it: choose another place", target)
	}
	return absolute, nil
}
