package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/cmd/onceward/internal/control"
)

// desk is what an operator can do with a store, here or in the process that holds it.
type desk interface {
	List(ctx context.Context, q control.Query) (control.Page, error)
	Get(ctx context.Context, id string) (control.Record, error)
	Resolve(ctx context.Context, r control.Resolution) (control.Record, error)
	Sweep(ctx context.Context) (int, error)
	Stats(ctx context.Context) (control.Stats, error)
	Audit(ctx context.Context, q control.AuditQuery) (control.Trail, error)
	Backup(ctx context.Context, target string) error
	Watch(ctx context.Context, tell func(control.Event) error) error
}

// operator is what every command is told that works with a store.
type operator struct {
	store string
	json  bool
}

func (o *operator) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.store, "store", defaultStore, "where the proxy keeps its keys: a `DIR`, or the URL of a server")
	o.jsonFlag(cmd)
}

func (o *operator) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.json, "json", false, "print JSON")
}

// operate lets use work with the store: by way of the process that holds its directory, or directly if there is none.
func (o *operator) operate(cmd *cobra.Command, use func(ctx context.Context, d desk) error) error {
	o.store = storeText(cmd, o.store)
	at, err := parseLocation(o.store)
	switch {
	case err != nil:
		return err
	case at.url != "":
		return failed(o.open(cmd, use))
	case at.dir == "":
		return fmt.Errorf("--store %s cannot be seen from here, because its keys are in the memory of the process that made them: "+
			"want the data directory of a proxy that was started with --store DIR, or the URL of a server", o.store)
	}
	client, err := control.Dial(cmd.Context(), at.dir)
	switch {
	case err == nil:
		return failed(use(cmd.Context(), client))
	case !errors.Is(err, control.ErrNobody):
		return failed(fmt.Errorf("--store %s: %w", o.store, err))
	}
	return failed(o.openFiles(cmd, at.dir, use))
}

func (o *operator) openFiles(cmd *cobra.Command, dir string, use func(ctx context.Context, d desk) error) error {
	if err := mustOwn(cmd, dir); err != nil {
		return fmt.Errorf("--store %s: %w", o.store, err)
	}
	// Opening it would make it, and an operator who mistyped it would be told that there are no keys.
	if inside, err := os.ReadDir(dir); errors.Is(err, os.ErrNotExist) || err == nil && len(inside) == 0 {
		return fmt.Errorf("--store %s: there is no data in %s: want the directory that a proxy was started with", o.store, dir)
	}
	if err := o.open(cmd, use); err != nil {
		return fmt.Errorf("%w (nobody answers on the control socket there)", err)
	}
	return nil
}

// open does not mind what the store can promise: nothing is run here.
func (o *operator) open(cmd *cobra.Command, use func(ctx context.Context, d desk) error) (err error) {
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := openStore(o.store, &storeOptions{allowEviction: true, bestEffort: true, operator: true, log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	return use(cmd.Context(), control.NewDesk(store, nil))
}

// command is a command line that works with the same store.
func (o *operator) command(words ...string) string {
	line := "onceward " + strings.Join(words, " ")
	if o.store != defaultStore && o.store != os.Getenv(storeVariable) {
		line += " --store " + shellWord(withoutPassword(o.store))
	}
	return line
}

func shellWord(text string) string {
	plain := func(c rune) bool {
		return strings.ContainsRune("/._-+:=@,%", c) || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	if text != "" && !strings.ContainsFunc(text, func(c rune) bool { return !plain(c) }) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// print shows v as JSON, or what show prints.
func (o *operator) print(out io.Writer, v any, show func()) error {
	if !o.json {
		show()
		return nil
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// group is a command that only has subcommands.
func group(use, short, long string, subs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			known := make([]string, len(subs))
			for i, sub := range subs {
				known[i] = sub.Name()
			}
			return fmt.Errorf("unexpected %q: want %s", args[0], listed(known))
		},
	}
	cmd.AddCommand(subs...)
	return cmd
}

// listed is "a, b or c".
func listed(names []string) string {
	last := len(names) - 1
	if last == 0 {
		return names[0]
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// arguments wants just as many as there are names.
func arguments(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return fmt.Errorf("%s is missing", names[len(args)])
		case len(args) > len(names):
			return fmt.Errorf("unexpected %q", args[len(names)])
		default:
			return nil
		}
	}
}

// idArgument wants the id of a key.
func idArgument(cmd *cobra.Command, args []string) error {
	if err := arguments("ID")(cmd, args); err != nil {
		return fmt.Errorf("%w: want the id of a key, as onceward keys list prints it", err)
	}
	return control.CheckID(args[0])
}
