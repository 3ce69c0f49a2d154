package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/demo"
	"github.com/onceward/onceward/cmd/onceward/internal/proxy"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

func newDemo() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start a guarded payments API, and print what to try",
		Long: `Start a payments API behind the proxy, and print the commands to try. The API knows nothing of keys. Both, and the
keys, live in this process and end with it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(runDemo(cmd.Context(), listen, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	add(cmd, &listen, "listen", "127.0.0.1:8080", "HOST:PORT", "where clients connect; port 0 is any free one", address)
	return cmd
}

func runDemo(ctx context.Context, listen string, out, errs io.Writer) error {
	log := slog.New(slog.NewTextHandler(errs, &slog.HandlerOptions{Level: slog.LevelWarn}))
	listener, err := bind(ctx, listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	api, to, err := startAPI(ctx, log)
	if err != nil {
		return err
	}
	defer api()
	guard, err := onceward.New(memstore.New(nil), &onceward.Options{Logger: log})
	if err != nil {
		return err
	}
	once := oncehttp.New(guard, oncehttp.SingleTenant, &oncehttp.Options{Keys: oncehttp.Required})
	d := &door{
		handler: once(proxy.New(to, &proxy.Options{Logger: log})), listener: listener, drain: time.Minute, log: log,
		opened: func(base string) { introduce(out, base) },
	}
	return serveGuarded(ctx, d, guard)
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

func introduce(out io.Writer, base string) {
	listening(out, base)
	_, _ = fmt.Fprintln(out, "\nA payments API behind the proxy. Paste these into another terminal, one after the other:")
	for i, step := range demo.Steps(base) {
		_, _ = fmt.Fprintf(out, "\n%d. %s\n\n   %s\n", i+1, step.Shows, step.Command)
	}
	_, _ = fmt.Fprintln(out, "\nPayments and keys are in memory, and gone when this ends (Ctrl-C).")
}
