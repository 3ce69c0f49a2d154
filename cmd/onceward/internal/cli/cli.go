// Package cli is the command line of onceward, a file for each subcommand.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // something went wrong that was asked for rightly
	exitUsage  = 2 // it was asked for wrongly; nothing was done
)

// Main runs the subcommand that args name until it is done or ctx ends, and returns the exit code of the process. What was
// asked for goes to out, and what went wrong to errs.
func Main(ctx context.Context, args []string, out, errs io.Writer) int {
	root := &cobra.Command{
		Use:               "onceward",
		Short:             "Makes retries safe: a request that is sent again gets the same answer, and takes effect once",
		SilenceErrors:     true,
		SilenceUsage:      true,
		Version:           version(),
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(didYouMean)
	root.AddCommand(newDemo(), newProxy(), newMigrate(), newDoctor(), newKeys(), newAudit(), newKey(), newSweep(), newStats(),
		newBackup(), newVersion())
	root.SetArgs(args)
	written := &output{to: out}
	root.SetOut(written)
	root.SetErr(errs)
	command, err := root.ExecuteContextC(ctx)
	if written.err != nil && (err == nil || errors.Is(err, written.err)) {
		err = failed(fmt.Errorf("not all output could be written: %w", written.err))
	}
	var failed *failure
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &failed):
		_, _ = fmt.Fprintf(errs, "onceward: %v\n", err)
		return exitFailed
	default:
		_, _ = fmt.Fprintf(errs, "onceward: %v\n\nSee %s --help.\n", err, command.CommandPath())
		return exitUsage
	}
}

// output remembers the first error, so that a command that prints need not ask, and writes nothing after it.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (n int, err error) {
	if o.err == nil {
		n, o.err = o.to.Write(p)
	}
	return n, o.err
}

// failure is an error that is not about how the command was called. Cobra's own errors all are.
type failure struct{ error }

func (f *failure) Unwrap() error { return f.error }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return &failure{err}
}
