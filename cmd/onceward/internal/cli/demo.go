package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/demo"
	"github.com/onceward/onceward/cmd/onceward/internal/proxy"
	"github.com/onceward/onceward/oncehttp"
)

func newDemo() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start a guarded payments API, and print what to try",
		Long: `Start a payments API behind the proxy, and print the commands to try. The API knows nothing of keys. They are kept in a
temporary directory, and like the payments they are gone when the demo ends.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(runDemo(cmd.Context(), listen, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	add(cmd, &listen, "listen", "127.0.0.1:8080", "HOST:PORT", "where clients connect; port 0 is any free one", address)
	return cmd
}

func runDemo(ctx context.Context, listen string, out, errs io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	listener, err := bind(ctx, "listen", listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	api, to, err := startAPI(ctx, log)
	if err != nil {
		return err
	}
	defer api()
	dir, err := os.MkdirTemp("", "onceward-demo-")
	if err != nil {
		return fmt.Errorf("a directory for the keys: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	store, err := openStore(dir, &storeOptions{log: log})
	if err != nil {
		return err
	}
	g, err := openGuarded(store, &onceward.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	passOn := proxy.New(to, &proxy.Options{Logger: log})
	d := &door{
		handler: proxy.CutOffIdle(demoRoutes(g.guard, passOn), 0), listener: listener, log: log,
		guarded: time.Minute, cut: passOn.EndUnguarded,
		opened: func(base string) {
			introduce(out, &demo.Place{Base: base, Scope: demoScope, Command: self(), Store: dir})
		},
	}
	return d.serve(ctx)
}

const demoScope = "demo"

// demoRoutes guards the API: a key is required, but on the route where it is derived.
func demoRoutes(guard *onceward.Guard, api http.Handler) http.Handler {
	scope := func(*http.Request) (string, error) { return demoScope, nil }
	mux := http.NewServeMux()
	mux.Handle("/", oncehttp.New(guard, scope, &oncehttp.Options{Keys: oncehttp.Required})(api))
	mux.Handle(demo.Keyless, oncehttp.New(guard, scope, &oncehttp.Options{Keys: oncehttp.Derived})(api))
	return mux
}

// startAPI starts the payments API on a port that nobody knows, and returns what stops it, and where it is.
func startAPI(ctx context.Context, log *slog.Logger) (stop func(), to *url.URL, err error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, fmt.Errorf("starting the payments API: %w", err)
	}
	server := newServer(demo.New(), log)
	go func() { _ = server.Serve(listener) }() // it ends when it is stopped
	return func() { _ = server.Close() }, &url.URL{Scheme: "http", Host: listener.Addr().String()}, nil
}

// self is how this program is started from another terminal: by its name where that is enough.
func self() string {
	path, err := os.Executable()
	if err != nil {
		return "onceward"
	}
	name := filepath.Base(path)
	if found, err := exec.LookPath(name); err == nil && found == path {
		return name
	}
	return path
}

func introduce(out io.Writer, at *demo.Place) {
	listening(out, at.Base)
	_, _ = fmt.Fprintln(out, "\nA payments API behind the proxy. Paste these into another terminal, one after the other:")
	for i, step := range demo.Steps(at) {
		_, _ = fmt.Fprintf(out, "\n%d. %s\n\n   %s\n", i+1, step.Shows, step.Command)
	}
	_, _ = fmt.Fprintln(out, "\nPayments and keys are gone when this ends (Ctrl-C).")
}
