package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward"
)

func newKey() *cobra.Command {
	return group("key", "Make a key", `Make a key, to send as Idempotency-Key.

  onceward key new                a key for a new operation: keep it with the operation, and send it with each retry
  onceward key derive order.json  a key made of what is asked for, the same each time`,
		newKeyNew(), newKeyDerive())
}

func newKeyNew() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Make a key for a new operation",
		Long: `Make a key for a new operation, a UUID of version 7. Keep it with the operation before you send it, and send the same with
each retry.`,
		Args: arguments(),
		Run: func(cmd *cobra.Command, _ []string) {
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), onceward.NewKey(prefix))
		},
	}
	prefixFlag(cmd, &prefix)
	return cmd
}

func newKeyDerive() *cobra.Command {
	var prefix string
	cmd := &cobra.Command{
		Use:   "derive FILE|-",
		Short: "Make a key of a JSON document",
		Long: `Make a key of a JSON document: the same for documents of the same value, whatever the order of their members and their
white space. Two wishes that are written alike then are one operation: use it only where that is meant.`,
		Example: "  onceward key derive order.json --prefix order-",
		Args:    arguments("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			payload, err := readInput(cmd.Context(), args[0], cmd.InOrStdin())
			if err != nil {
				return failed(fmt.Errorf("%s: %w", args[0], err))
			}
			key, err := onceward.DeriveKey(prefix, payload)
			if err != nil {
				return failed(fmt.Errorf("%s: %w", args[0], err))
			}
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), key)
			return nil
		},
	}
	prefixFlag(cmd, &prefix)
	return cmd
}

func prefixFlag(cmd *cobra.Command, prefix *string) {
	add(cmd, prefix, "prefix", "", "TEXT", "what the key begins with", func(text string) (string, error) {
		const most = 191 // a key may have 255 characters, and a derived one has 64 after the prefix
		outside := func(c rune) bool { return c <= ' ' || c > '~' || strings.ContainsRune(`",;`, c) }
		if len(text) > most || strings.ContainsFunc(text, outside) {
			return "", errors.New("want at most 191 visible ASCII characters other than quote, comma and semicolon")
		}
		return text, nil
	})
}
