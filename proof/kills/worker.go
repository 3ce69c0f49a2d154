package kills

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/onceward/onceward"
)

// config is what a worker is told.
type config struct {
	Mode   Mode          `json:"mode"`
	Store  string        `json:"store"`  // a URL, the directory of a disk store, or memory:
	Ledger string        `json:"ledger"` // the file in which effects are counted, but for those in a database
	Deaths string        `json:"deaths"` // the file in which a worker says where it dies, if it was told to
	Lease  time.Duration `json:"lease"`

	Program string   `json:"-"` // the worker's, ourselves if it is empty
	Args    []string `json:"-"` // of the program
}

// variable holds the config of a worker.
const variable = "KILLS_WORKER"

// The moments at which a worker can be told to die, by the header field Die.
const (
	beforeEffect = "before-effect"
	afterEffect  = "after-effect" // between the effect and its outcome, or its COMMIT
	beforeReply  = "before-reply"
)

// Work makes this process a worker if it was started as one, and then does not return.
func Work() {
	text := os.Getenv(variable)
	if text == "" {
		return
	}
	var c config
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.work()
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// work serves until somebody ends it: gently, or not.
func (c *config) work() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	do, end, err := c.open()
	if err != nil {
		return err
	}
	var network net.ListenConfig
	listener, err := network.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           &service{config: c, do: do},
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	_, _ = fmt.Fprintln(os.Stdout, "http://"+listener.Addr().String())
	go func() { _ = server.Serve(listener) }()
	go orphaned(stop)
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(drain), end(drain))
}

// orphaned calls stop when whoever started the worker is gone, and with it the other end of standard input.
func orphaned(stop func()) {
	_, _ = io.Copy(io.Discard, os.Stdin)
	stop()
}

// service does an operation once for each key.
type service struct {
	*config

	do operation
}

// operation runs what effect does for the key, and returns the answer that everybody gets.
type operation func(ctx context.Context, key string, at func(moment string)) (answer string, err error)

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := func(moment string) {
		if r.Header.Get("Die") == moment {
			s.die(moment)
		}
	}
	answer, err := s.do(r.Context(), strings.TrimPrefix(r.URL.Path, "/"), at)
	at(beforeReply)
	switch {
	case err == nil:
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, answer)
	case errors.Is(err, errNotNow):
		http.Error(w, "not-now", http.StatusTooManyRequests)
	case errors.Is(err, onceward.ErrInProgress):
		http.Error(w, "in-progress", http.StatusConflict)
	case errors.Is(err, onceward.ErrInDoubt):
		http.Error(w, "in-doubt", http.StatusConflict)
	case errors.Is(err, onceward.ErrUnavailable):
		http.Error(w, "store-unavailable: "+err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// die ends the process as kill -9 does, and leaves a line that says where.
func (s *service) die(moment string) {
	_ = note(s.Deaths, moment)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // it takes a moment
}

// note adds a line to a file. What was written when the process dies is kept by the kernel.
func note(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // ours
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, line+"\n")
	return errors.Join(err, f.Close())
}
