package cli

import "github.com/spf13/cobra"

func newKeys() *cobra.Command {
	return group("keys", "See the keys of a store, and resolve those in doubt",
		`See the keys of a store, and resolve those in doubt: keys of which nobody is left who can say how the operation ended.

  onceward keys list --state in-doubt
  onceward keys get ID
  onceward keys resolve ID --done --reason 'found at the bank'

Only hashes of keys are stored, and a hint: keys find looks for one that you have. The commands ask the process that holds
the data directory, by the socket in it, or open its files if there is none.`,
		newKeysList(), newKeysFind(), newKeysGet(), newKeysResolve(), newKeysWatch())
}
