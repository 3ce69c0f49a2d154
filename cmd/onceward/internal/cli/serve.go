package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// door is a handler on a port, and how long it may take to close.
type door struct {
	handler   http.Handler
	listener  net.Listener
	guarded   time.Duration // how long guarded requests may go on when it closes
	unguarded time.Duration // how long the others may, until cut ends them
	cut       func()
	log       *slog.Logger
	opened    func(base string)
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
	d.log.Info("stopping: no new requests; guarded ones come to their end, others are cut off; a second signal ends it at once",
		"guarded", d.guarded, "others", d.unguarded)
	defer time.AfterFunc(d.unguarded, d.cut).Stop()
	defer d.cut() // upgraded connections are not waited for
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.guarded)
	defer cancel()
	if err := server.Shutdown(bound); err != nil {
		_ = server.Close()
		return fmt.Errorf("requests were cut off after %v: %w", d.guarded, err)
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

func listening(out io.Writer, base string) { _, _ = fmt.Fprintf(out, "listening on %s\n", base) }
