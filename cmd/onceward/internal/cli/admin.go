package cli

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/metrics"
)

// serveAdmin serves those who watch the process until stop is called.
func (s *sidecar) serveAdmin(ctx context.Context) (stop func()) {
	server := newServer(metrics.Admin(s.metrics, s.ready(ctx)), s.log)
	server.ReadTimeout, server.WriteTimeout = 10*time.Second, time.Minute
	go func() {
		if err := server.Serve(s.admin); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("--admin: nobody can look any more", "error", err)
		}
	}()
	counting, end := context.WithCancel(context.WithoutCancel(ctx))
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		s.countRecords(counting)
	}()
	s.log.Info("/healthz, /readyz and /metrics", "admin", "http://"+s.admin.Addr().String())
	return func() {
		end()
		<-counted // it reads the store
		_ = server.Close()
	}
}

// ready asks the store for a key that nobody has. Serving ends with ctx.
func (s *sidecar) ready(ctx context.Context) func(context.Context) error {
	return func(probe context.Context) error {
		if ctx.Err() != nil {
			return metrics.ErrDraining
		}
		_, err := s.guarded.guard.Lookup(probe, onceward.Key{Scope: "readyz", Operation: "readyz", Value: "readyz"})
		return err
	}
}

// countRecords shows what onceward stats would.
func (s *sidecar) countRecords(ctx context.Context) {
	s.metrics.WatchRecords(ctx, 0, func(ctx context.Context) (metrics.Counts, error) {
		now, err := s.guarded.desk.Stats(ctx)
		return metrics.Counts{
			Running: now.Running, InDoubt: now.InDoubt, Done: now.Done, OldestDoubt: time.Duration(now.OldestDoubt),
		}, err
	})
}
