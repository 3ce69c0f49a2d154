package cli

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/proxy"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/oncehttp"
)

const proxyLong = `Guard any HTTP service: a request that is sent again with the same Idempotency-Key gets the stored answer, and the
service does not see it a second time.

--scope says whose key a request carries, so that two callers' keys never meet. It is one of
` + proxy.ScopeHelp + `

The service gets Idempotency-Key, Idempotency-Attempt and Idempotency-Fence, and X-Forwarded-For, -Host and -Proto. It may
answer with Idempotency-Control: final, retry (nothing happened), in-doubt or no-store. Over http it sees the Host that the
client sent, over https the one of --to.

Keys are kept in a directory, which one process uses at a time, or in Redis, which any number of proxies share. onceward keys
shows and resolves them, also while the proxy runs.

SIGTERM ends it: nobody new is let in, and guarded requests come to their end.`

// proxyFlags are what the proxy is told.
type proxyFlags struct {
	to     *url.URL
	scope  proxy.Scope
	listen string
	admin  string

	store       string
	minFree     int64
	acceptScope bool
	node        string

	allowEviction bool
	bestEffort    bool

	audit          driver.AuditLevel
	auditRetention time.Duration

	keys    oncehttp.Keys
	methods []string
	policy  onceward.Policy
	derived time.Duration // the retention of answers to derived keys

	keyMaxAge time.Duration

	maxBody     int64
	maxBodies   int64
	bodyTimeout time.Duration
	maxOutcome  int64

	upstreamIdle time.Duration
	clientIdle   time.Duration
	drain        time.Duration // for what is not guarded
	forwarded    bool

	handler func(io.Writer, *slog.HandlerOptions) slog.Handler
	level   slog.Level
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
	f.addPlaces(cmd)
	f.addPolicy(cmd)
	f.addBounds(cmd)
	add(cmd, &f.handler, "log-format", "text", "FORMAT", "text or json, to stderr",
		oneOf([]string{"text", "json"}, textLog, jsonLog))
	add(cmd, &f.level, "log-level", "info", "LEVEL", "debug, info, warn or error",
		oneOf([]string{"debug", "info", "warn", "error"},
			slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError))
	return cmd
}

// addPlaces adds what says who talks to whom, and where keys are.
func (f *proxyFlags) addPlaces(cmd *cobra.Command) {
	add(cmd, &f.to, "to", "", "URL", "the service that is guarded (required); h2c:// is HTTP/2 without TLS", upstream)
	add(cmd, &f.scope, "scope", "", "SCOPE", "whose key a request carries, see above (required)", proxy.ParseScope)
	add(cmd, &f.listen, "listen", "127.0.0.1:8080", "HOST:PORT", "where clients connect; port 0 is any free one", address)
	add(cmd, &f.admin, "admin", "", "HOST:PORT", "where /healthz, /readyz and /metrics are, on this machine only", loopback)
	cmd.Flags().StringVar(&f.store, "store", defaultStore, storeHelp)
	add(cmd, &f.minFree, "min-free", "256MiB", "SIZE", "with less than this on the disk new keys are refused, so that others can end",
		size)
	cmd.Flags().BoolVar(&f.acceptScope, "accept-scope", false,
		"take over a store that was used under another --scope; the keys that were made under it are not found any more")
	cmd.Flags().BoolVar(&f.allowEviction, "allow-eviction", false, "take a Redis that drops keys at its maxmemory: they run again")
	cmd.Flags().BoolVar(&f.bestEffort, "best-effort", false, "do not warn of a Redis that can forget keys in a crash or a failover")
	cmd.Flags().StringVar(&f.node, "node", hostname(), "the `NAME` of this process in records")
	levels := []driver.AuditLevel{driver.AuditOff, driver.AuditTransitions, driver.AuditAll}
	add(cmd, &f.audit, "audit", "off", "LEVEL",
		"what the audit trail keeps: off, transitions, or all, which adds each sign of life; see onceward audit",
		oneOf([]string{"off", "transitions", "all"}, levels...))
	add(cmd, &f.auditRetention, "audit-retention", "2160h", "TIME", "how long the audit trail is kept, 90 days if nothing else is said",
		atLeast(time.Minute))
}

// addPolicy adds what says how keys are kept.
func (f *proxyFlags) addPolicy(cmd *cobra.Command) {
	add(cmd, &f.keys, "key", "optional", "KEYS",
		"a request without a key: optional passes it on unguarded, required refuses it, derive makes one of what it asks for",
		oneOf([]string{"optional", "required", "derive"}, oncehttp.Optional, oncehttp.Required, oncehttp.Derived))
	add(cmd, &f.methods, "methods", "POST,PATCH", "METHODS", "which are guarded", guardable)
	add(cmd, &f.policy.OnCrash, "on-crash", "hold", "POLICY",
		"a key of which nobody can say how it ended: hold does not run it again, rerun does after the lease",
		oneOf([]string{"hold", "rerun"}, onceward.Hold, onceward.Rerun))
	duration := func(to *time.Duration, name, preset, usage string, least time.Duration) {
		add(cmd, to, name, preset, "TIME", usage, atLeast(least))
	}
	duration(&f.policy.Lease, "lease", "30s", "how long a request holds its key without a sign of life", time.Millisecond)
	duration(&f.policy.MaxExecution, "max-execution", "10m", "how long the service may take", time.Millisecond)
	duration(&f.policy.Retention, "retention", "24h", "how long an answer is kept", time.Millisecond)
	duration(&f.derived, "derived-retention", "10m", "how long an answer to a derived key is kept", time.Millisecond)
	duration(&f.keyMaxAge, "key-max-age", "0s",
		"refuse keys that were made longer ago and are not known, as their time tells (UUID version 7); 0s asks for none", 0)
	duration(&f.policy.Wait, "wait", "0s", "how long a duplicate waits for the answer before it is refused", 0)
}

// addBounds adds what says how much and how long.
func (f *proxyFlags) addBounds(cmd *cobra.Command) {
	add(cmd, &f.maxBody, "max-body", "16MiB", "SIZE", "of a guarded request; others are not bounded", size)
	add(cmd, &f.maxBodies, "max-bodies", "1GiB", "SIZE", "of all guarded requests at a time, in memory and temporary files", size)
	add(cmd, &f.bodyTimeout, "body-timeout", "30s", "TIME", "how long the body of a guarded request may take to arrive",
		atLeast(time.Millisecond))
	add(cmd, &f.maxOutcome, "max-outcome", "1MiB", "SIZE", "of a stored answer; larger ones pass through and are not replayed", size)
	add(cmd, &f.upstreamIdle, "upstream-idle", "2s", "TIME",
		"how long an unused connection to the service is kept, half as long for guarded requests; let it be shorter than the\n"+
			"service keeps it; 0s opens one for each request", atLeast(0))
	add(cmd, &f.clientIdle, "client-idle", "1m", "TIME",
		"how long a client may neither send what it has begun nor take what is there", atLeast(time.Millisecond))
	add(cmd, &f.drain, "drain", "10s", "TIME", "how long unguarded requests may go on after SIGTERM; guarded ones come to their end",
		atLeast(0))
	cmd.Flags().BoolVar(&f.forwarded, "trust-forwarded", false,
		"keep Forwarded, X-Forwarded-… and X-Real-Ip of clients: something in front of the proxy sets or removes them")
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

// clocksDiffer is by how much the age of a key may be wrong, as oncehttp wants it.
const clocksDiffer = 5 * time.Minute

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
	if missing != nil {
		return errors.Join(missing...)
	}
	if _, err := parseLocation(f.store); err != nil {
		return err
	}
	switch lease := f.policy.Lease; {
	case lease > f.policy.Retention:
		return fmt.Errorf("--lease %v is longer than --retention %v: want it shorter", lease, f.policy.Retention)
	case f.keys == oncehttp.Derived && lease > f.derived:
		return fmt.Errorf("--lease %v is longer than --derived-retention %v: want it shorter", lease, f.derived)
	case f.keyMaxAge > 0 && f.keyMaxAge > f.policy.Retention-clocksDiffer:
		return fmt.Errorf("--key-max-age %v is not %v shorter than --retention %v: a key whose answer is gone could still run",
			f.keyMaxAge, clocksDiffer, f.policy.Retention)
	case f.maxBody > f.maxBodies:
		return fmt.Errorf("--max-body %d is more than --max-bodies %d: such a request would never be taken", f.maxBody, f.maxBodies)
	default:
		return nil
	}
}
