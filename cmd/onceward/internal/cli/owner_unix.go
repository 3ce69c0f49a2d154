//go:build unix

package cli

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
)

// mustOwn refuses to work with the files of another user: the store writes when it opens them, even to read, and what root
// writes the proxy of that user could not open.
func mustOwn(cmd *cobra.Command, dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return nil //nolint:nilerr // that there is none, or that it is closed to this user, is told by whoever opens it
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == os.Geteuid() {
		return nil
	}
	owner := "#" + strconv.FormatUint(uint64(stat.Uid), 10) // as sudo takes it
	if u, err := user.LookupId(owner[1:]); err == nil {
		owner = u.Username
	}
	return fmt.Errorf("%s belongs to another user, %s, who could not open what this one writes there: use sudo -u %s %s …",
		dir, owner, shellWord(owner), cmd.CommandPath())
}
