package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/onceward/onceward"
)

// closeTime is how long the guard may take to store what the store did not take yet.
const closeTime = 10 * time.Second

// door is a handler on a port, and how long it may take to close.
type door struct {
	handler  http.Handler
	listener net.Listener
	drain    time.Duration // for the requests that run
	log      *slog.Logger
	opened   func(base string)
}

// serve answers until ctx ends. Then nobody new is let in, and what runs comes to its end.
func (d *door) serve(ctx context.Context) error {
	server := newServer(d.handler, d.log)
	serving := make(chan error, 1)
	go func() { serving <- server.Serve(d.listener) }()
	warnIfOpen(d.log, d.listener)
	d.opened("http://" + d.listener.Addr().String())
	select {
	case err := <-serving:
		return err
	case <-ctx.Done():
	}
	d.log.Info("stopping: no new requests; those that run come to their end; a second signal ends it at once", "at most", d.drain)
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.drain)
	defer cancel()
	if err := server.Shutdown(bound); err != nil {
		_ = server.Close()
		return fmt.Errorf("requests were cut off after %v: %w", d.drain, err)
	}
	return nil
}

func newServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// serveGuarded serves and then lets the guard store what is left to store.
func serveGuarded(ctx context.Context, d *door, guard *onceward.Guard) error {
	err := d.serve(ctx)
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	return errors.Join(err, guard.Close(bound))
}

func listening(out io.Writer, base string) { _, _ = fmt.Fprintf(out, "listening on %s\n", base) }
