package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/proxy"
	"github.com/onceward/onceward/oncehttp"
)

const proxyLong = `Guard any HTTP service: a request that is sent again with the same Idempotency-Key gets the stored answer, and the
service does not see it a second time.

--scope says whose key a request carries, so that two callers' keys never meet. It is one of
` + proxy.ScopeHelp + `

The service gets Idempotency-Key, Idempotency-Attempt and Idempotency-Fence, and X-Forwarded-For, -Host and -Proto. It may
answer with Idempotency-Control: final, retry (nothing happened), in-doubt or no-store. Over http it sees the Host that the
client sent, over https the one of --to.

SIGTERM ends it: nobody new is let in, and what runs comes to its end.`

// proxyFlags are what the proxy is told.
type proxyFlags struct {
	to           *url.URL
	scope        proxy.Scope
	listen       string
	store        string
	keys         oncehttp.Keys
	methods      []string
	policy       onceward.Policy
	maxBody      int64
	maxOutcome   int64
	upstreamIdle time.Duration
	handler      func(io.Writer, *slog.HandlerOptions) slog.Handler
	level        slog.Level
}

func newProxy() *cobra.Command {
	f := &proxyFlags{}
	cmd := &cobra.Command{
		Use:     "proxy --to URL --scope authorization|basic-user|header:NAME|none",
		Short:   "Guard any HTTP service",
		Long:    proxyLong,
		Example: "  onceward proxy --to http://127.0.0.1:3000 --scope authorization",
		Args:    noArguments,
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cmd.Flags().SortFlags = false
	add(cmd, &f.to, "to", "", "URL", "the service that is guarded (required)", upstream)
	add(cmd, &f.scope, "scope", "", "SCOPE", "whose key a request carries, see above (required)", proxy.ParseScope)
	add(cmd, &f.listen, "listen", "127.0.0.1:8080", "HOST:PORT", "where clients connect; port 0 is any free one", address)
	cmd.Flags().StringVar(&f.store, "store", "memory:", "where keys are kept, a `URL`; memory: dies with the process")
	add(cmd, &f.keys, "key", "optional", "KEYS",
		"a request without a key: optional passes it on unguarded, required refuses it, derive makes one of what it asks for",
		oneOf([]string{"optional", "required", "derive"}, oncehttp.Optional, oncehttp.Required, oncehttp.Derived))
	add(cmd, &f.methods, "methods", "POST,PATCH", "METHODS", "which are guarded", guardable)
	add(cmd, &f.policy.OnCrash, "on-crash", "hold", "POLICY",
		"a key of which nobody can say how it ended: hold does not run it again, rerun does after the lease",
		oneOf([]string{"hold", "rerun"}, onceward.Hold, onceward.Rerun))
	add(cmd, &f.policy.Lease, "lease", "30s", "TIME", "how long a request holds its key without a sign of life",
		atLeast(time.Millisecond))
	add(cmd, &f.policy.MaxExecution, "max-execution", "10m", "TIME", "how long the service may take", atLeast(time.Millisecond))
	add(cmd, &f.policy.Retention, "retention", "24h", "TIME", "how long an answer is kept", atLeast(time.Millisecond))
	add(cmd, &f.policy.Wait, "wait", "0s", "TIME", "how long a duplicate waits for the answer before it is refused", atLeast(0))
	add(cmd, &f.maxBody, "max-body", "16MiB", "SIZE", "of a guarded request; others are not bounded", size)
	add(cmd, &f.maxOutcome, "max-outcome", "1MiB", "SIZE", "of a stored answer; larger ones pass through and are not replayed", size)
	add(cmd, &f.upstreamIdle, "upstream-idle", "2s", "TIME",
		"how long an unused connection to the service is kept, half as long for guarded requests; let it be shorter than the\n"+
			"service keeps it; 0s opens one for each request", atLeast(0))
	add(cmd, &f.handler, "log-format", "text", "FORMAT", "text or json, to stderr",
		oneOf([]string{"text", "json"}, textLog, jsonLog))
	add(cmd, &f.level, "log-level", "info", "LEVEL", "debug, info, warn or error",
		oneOf([]string{"debug", "info", "warn", "error"},
			slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError))
	return cmd
}

func textLog(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewTextHandler(w, o) }
func jsonLog(w io.Writer, o *slog.HandlerOptions) slog.Handler { return slog.NewJSONHandler(w, o) }

// noArguments refuses what is not a flag: most likely it is the service.
func noArguments(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unexpected %q: the service goes in --to, such as --to http://127.0.0.1:3000", args[0])
}

// check finds what is missing, and what is wrong with flags that are right each for itself.
func (f *proxyFlags) check() error {
	var missing []error
	if f.to == nil {
		missing = append(missing, errors.New("--to is missing: say which service is guarded, such as --to http://127.0.0.1:3000"))
	}
	if f.scope.Of == nil {
		missing = append(missing, fmt.Errorf("--scope is missing: say whose key a request carries, so that two callers' keys "+
			"never meet. It is one of\n%s", proxy.ScopeHelp))
	}
	const derived = 10 * time.Minute // oncehttp's retention for derived keys
	switch {
	case missing != nil:
		return errors.Join(missing...)
	case f.policy.Lease > f.policy.Retention:
		return fmt.Errorf("--lease %v is longer than --retention %v: want it shorter", f.policy.Lease, f.policy.Retention)
	case f.keys == oncehttp.Derived && f.policy.Lease > derived:
		return fmt.Errorf("--lease %v is longer than %v, the retention of answers to derived keys: want it shorter, or "+
			"--key optional or required", f.policy.Lease, derived)
	default:
		return nil
	}
}

func (f *proxyFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	store, storeName, err := open(f.store)
	if err != nil {
		return err
	}
	listener, err := bind(cmd.Context(), f.listen)
	if err != nil {
		return failed(err)
	}
	defer listener.Close()
	if err := callsItself(f.to, bound(listener)); err != nil {
		return err
	}
	log := slog.New(f.handler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: f.level}))
	// In doubt for 30 days, or for longer if the service may take that long: the record must outlive the execution.
	f.policy.DoubtRetention = max(30*24*time.Hour, f.policy.MaxExecution+f.policy.Lease)
	guard, err := onceward.New(store, &onceward.Options{
		Policy: f.policy, Identity: "proxy --scope " + f.scope.Name, Logger: log,
	})
	if err != nil {
		return err
	}
	log.Info("scope: "+f.scope.Note, "scope", f.scope.Name)
	set := func(name string) slog.Attr { return slog.String(name, cmd.Flag(name).Value.String()) }
	log.LogAttrs(cmd.Context(), slog.LevelInfo, "in front of "+f.to.String(),
		set("methods"), set("key"), set("on-crash"), set("retention"), slog.String("store", storeName))
	log.Warn("keys are kept in memory: after a restart, every retry is a new request")
	return failed(f.serve(cmd.Context(), listener, guard, log, cmd.OutOrStdout()))
}

func (f *proxyFlags) serve(
	ctx context.Context, listener net.Listener, guard *onceward.Guard, log *slog.Logger, out io.Writer,
) error {
	policy, err := guard.Policy(nil)
	if err != nil {
		return err
	}
	once := oncehttp.New(guard, f.scope.Of, &oncehttp.Options{
		Methods: f.methods, Keys: f.keys, MaxBody: f.maxBody, MaxOutcome: int(f.maxOutcome),
	})
	idle := f.upstreamIdle
	if idle == 0 {
		idle = -1
	}
	passOn := proxy.New(f.to, &proxy.Options{
		UpstreamIdle: idle, AnswerTimeout: policy.MaxExecution, MaxAttempts: policy.MaxAttempts, Logger: log,
	})
	d := &door{
		handler: once(passOn), listener: listener, drain: policy.MaxExecution, log: log,
		opened: func(base string) { listening(out, base) },
	}
	return serveGuarded(ctx, d, guard)
}
