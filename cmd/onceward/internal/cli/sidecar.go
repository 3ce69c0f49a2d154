package cli

import (
	"errors"
	"log"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/access"
	"github.com/onceward/onceward/cmd/onceward/internal/metrics"
	"github.com/onceward/onceward/cmd/onceward/internal/proxy"
	"github.com/onceward/onceward/oncehttp"
)

// run takes the ports, then the store, and serves: whoever starts it a second time by mistake changes nothing.
func (f *proxyFlags) run(cmd *cobra.Command) error {
	f.store = storeText(cmd, f.store)
	if err := f.check(); err != nil {
		return err
	}
	listener, err := bind(cmd.Context(), "listen", f.listen)
	if err != nil {
		return failed(err)
	}
	defer listener.Close()
	if err := callsItself(f.to, bound(listener)); err != nil {
		return err
	}
	s := &sidecar{proxyFlags: f, listener: listener}
	if f.admin != "" {
		if s.admin, err = bind(cmd.Context(), "admin", f.admin); err != nil {
			return failed(err)
		}
		defer s.admin.Close()
	}
	s.log = slog.New(f.handler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: f.level}))
	log.SetOutput(proxy.Unquoted(s.log)) // where net/http writes what it was not told to write elsewhere
	return failed(s.run(cmd))
}

// sidecar is a proxy that has its ports.
type sidecar struct {
	*proxyFlags

	listener, admin net.Listener // admin may be nil
	log             *slog.Logger
	guarded         *guarded
	metrics         *metrics.Metrics // nil without admin
}

func (s *sidecar) run(cmd *cobra.Command) (err error) {
	if err := s.open(); err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, s.guarded.close()); err == nil {
			s.log.Info("stopped") // a log without this line is that of a process that was killed
		}
	}()
	s.log.Info("scope: "+s.scope.Note, "scope", s.scope.Name)
	set := func(name string) slog.Attr { return slog.String(name, cmd.Flag(name).Value.String()) }
	s.log.LogAttrs(cmd.Context(), slog.LevelInfo, "in front of "+s.to.String(),
		set("methods"), set("key"), set("on-crash"), set("retention"), slog.String("store", s.guarded.store.shown))
	if s.guarded.store.dir+s.guarded.store.url == "" {
		s.log.Warn("keys are kept in memory: after a restart, every retry is a new request")
	}
	if s.metrics != nil {
		defer s.serveAdmin(cmd.Context())()
	}
	d, err := s.door()
	if err != nil {
		return err
	}
	d.opened = func(base string) { listening(cmd.OutOrStdout(), base) }
	return d.serve(cmd.Context())
}

func (s *sidecar) open() (err error) {
	// In doubt for 30 days, or for longer if the service may take that long: the record must outlive the execution.
	s.policy.DoubtRetention = max(30*24*time.Hour, s.policy.MaxExecution+s.policy.Lease)
	hooks := []hook{access.Trace}
	if s.admin != nil {
		s.metrics = metrics.New()
		hooks = append(hooks, s.metrics.Trace)
	}
	store, err := openStore(s.store, &storeOptions{
		minFree: s.minFree, allowEviction: s.allowEviction, bestEffort: s.bestEffort,
		audit: s.audit, auditFor: s.auditRetention, patience: 5 * time.Second, log: s.log,
	})
	if err != nil {
		return err
	}
	s.guarded, err = openGuarded(store, &onceward.Options{
		Policy: s.policy, Node: s.node, Logger: s.log,
		Identity: "proxy --scope " + s.scope.Name, AcceptIdentity: s.acceptScope,
	}, hooks...)
	return err
}

// door is the proxy behind its guard, behind what is asked of every client.
func (s *sidecar) door() (*door, error) {
	guard := s.guarded.guard
	policy, err := guard.Policy(nil)
	if err != nil {
		return nil, err
	}
	idle := s.upstreamIdle
	if idle == 0 {
		idle = -1
	}
	passOn := proxy.New(s.to, &proxy.Options{
		UpstreamIdle: idle, AnswerTimeout: policy.MaxExecution, MaxAttempts: policy.MaxAttempts,
		TrustForwarded: s.forwarded, ScopeHeader: s.scope.Header, Logger: s.log,
	})
	once := oncehttp.New(guard, s.scope.Of, &oncehttp.Options{
		Methods: s.methods, Keys: s.keys, DerivedRetention: s.derived, KeyMaxAge: s.keyMaxAge, MaxWait: longestWait,
		MaxBody: s.maxBody, SpoolTotal: s.maxBodies, BodyTimeout: s.bodyTimeout, MaxOutcome: int(s.maxOutcome),
	})
	return &door{
		handler:  proxy.CutOffIdle(access.Log(once(passOn), s.log), s.clientIdle),
		listener: s.listener, log: s.log,
		guarded: s.longest(&policy), unguarded: s.drain, cut: passOn.EndUnguarded,
	}, nil
}

// longest is how long a guarded request may go on that was let in a moment ago: its body has to arrive, it may wait for
// another one, then it runs, and its client has to take the answer.
func (s *sidecar) longest(policy *onceward.Policy) time.Duration {
	return max(s.drain, s.bodyTimeout+max(policy.Wait, longestWait)+policy.MaxExecution+s.clientIdle)
}

// longestWait is what a client may ask for.
const longestWait = 30 * time.Second
