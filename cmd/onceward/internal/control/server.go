package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	version       = "1" // of what is said on the socket
	versionHeader = "Onceward-Control"
	prefix        = "/v" + version

	maxRequest = 32 << 20 // bytes; a resolution may hold an answer

	// How long the work for a request may take.
	quick   = 10 * time.Second
	scan    = 5 * time.Minute // which reads every record
	copying = time.Hour
)

// Server offers a desk on the socket of a data directory.
type Server struct {
	http  http.Server
	path  string
	ended chan struct{} // it listens no more
	close func() error
}

// Serve makes the socket of a data directory, with mode 0600, and answers on it until the server is closed. Call it after
// the store in dir was opened, and close it before the store is closed: nobody else may touch the socket meanwhile.
func Serve(dir string, desk *Desk, log *slog.Logger) (*Server, error) {
	listener, err := listen(dir)
	if err != nil {
		return nil, fmt.Errorf("control: no socket in %s: %w", dir, err)
	}
	serving, stop := context.WithCancel(context.Background())
	s := &Server{path: filepath.Join(dir, socketName), ended: make(chan struct{}), http: http.Server{
		Handler:           routes(serving, desk),
		ReadHeaderTimeout: quick,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}}
	s.http.RegisterOnShutdown(stop)
	s.close = sync.OnceValue(s.shut)
	go func() {
		defer close(s.ended)
		_ = s.http.Serve(listener) // it returns when it is closed
	}()
	return s, nil
}

// Close removes the socket, ends those who watch, and waits for the other requests, a few seconds at most. Closing again
// does nothing.
func (s *Server) Close() error { return s.close() }

func (s *Server) shut() error {
	err := os.Remove(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), quick/2)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	<-s.ended
	return err
}

// routes are the requests. Those who watch are sent away when serving ends.
func routes(serving context.Context, desk *Desk) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, most time.Duration, do func(context.Context, *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), most)
			defer cancel()
			r.Body = &body{http.MaxBytesReader(w, r.Body, maxRequest), http.NewResponseController(w)}
			answer, err := do(ctx, r)
			reply(w, answer, err)
		})
	}
	handle("GET "+prefix+"/keys", scan, func(ctx context.Context, r *http.Request) (any, error) {
		q, err := parseQuery(r)
		if err != nil {
			return nil, err
		}
		return desk.List(ctx, q)
	})
	handle("GET "+prefix+"/keys/{id}", scan, func(ctx context.Context, r *http.Request) (any, error) {
		return desk.Get(ctx, r.PathValue("id"))
	})
	handle("GET "+prefix+"/audit", scan, func(ctx context.Context, r *http.Request) (any, error) { return audit(ctx, desk, r) })
	handle("POST "+prefix+"/resolve", quick, func(ctx context.Context, r *http.Request) (any, error) {
		resolution, err := decode[Resolution](r)
		if err != nil {
			return nil, err
		}
		return desk.Resolve(ctx, resolution)
	})
	handle("POST "+prefix+"/sweep", scan, func(ctx context.Context, _ *http.Request) (any, error) { return desk.Sweep(ctx) })
	handle("GET "+prefix+"/stats", scan, func(ctx context.Context, _ *http.Request) (any, error) { return desk.Stats(ctx) })
	handle("POST "+prefix+"/backup", copying, func(ctx context.Context, r *http.Request) (any, error) {
		target, err := decode[string](r)
		if err != nil {
			return nil, err
		}
		return struct{}{}, desk.Backup(ctx, target)
	})
	mux.HandleFunc("GET "+prefix+"/events", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(serving, cancel)()
		watch(ctx, w, desk)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, nil, &Error{Wrong, "there is no such request in version " + version + " of what is said on the socket"})
	})
	return mux
}

// body bounds how long a request's body may stand still. The bound ends with each read: later it would end the request's
// context, since net/http goes on reading to see whether the client leaves.
type body struct {
	io.ReadCloser

	conn *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	_ = b.conn.SetReadDeadline(time.Now().Add(quick))
	n, err := b.ReadCloser.Read(p)
	_ = b.conn.SetReadDeadline(time.Time{})
	return n, err
}

func parseQuery(r *http.Request) (Query, error) {
	form := r.URL.Query()
	limit, err := parseLimit(form)
	return Query{State: form.Get("state"), Operation: form.Get("operation"), KeyTag: form.Get("tag"), Limit: limit}, err
}

func audit(ctx context.Context, desk *Desk, r *http.Request) (any, error) {
	q, err := parseAuditQuery(r)
	if err != nil {
		return nil, err
	}
	return desk.Audit(ctx, q)
}

func parseAuditQuery(r *http.Request) (AuditQuery, error) {
	form := r.URL.Query()
	q := AuditQuery{ID: form.Get("id"), Operation: form.Get("operation"), KeyTag: form.Get("tag")}
	var err error
	if since := form.Get("since"); since != "" {
		if q.Since, err = time.Parse(time.RFC3339Nano, since); err != nil {
			return q, &Error{Wrong, fmt.Sprintf("the time %q is none as in RFC 3339", since)}
		}
	}
	q.Limit, err = parseLimit(form)
	return q, err
}

func parseLimit(form url.Values) (int, error) {
	limit, err := strconv.Atoi(form.Get("limit"))
	if err != nil {
		return 0, &Error{Wrong, fmt.Sprintf("the limit %q is no number", form.Get("limit"))}
	}
	return limit, nil
}

func decode[T any](r *http.Request) (T, error) {
	var v T
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		return v, &Error{Wrong, fmt.Sprintf("the request cannot be read: %v", err)}
	}
	return v, nil
}

func reply(w http.ResponseWriter, answer any, err error) {
	status := http.StatusOK
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			e = &Error{Unknown, err.Error()}
		}
		answer, status = e, e.status()
	}
	text, err := json.Marshal(answer)
	if err != nil {
		text, status = []byte(`{"code":"unknown","text":"the answer cannot be encoded"}`), http.StatusInternalServerError
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(quick))
	header(w, "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // an error means that the client left
}

func header(w http.ResponseWriter, kind string) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set(versionHeader, version)
}

// watch has no time limit for writing: a watcher that stands still misses events, and keeps nobody else waiting.
func watch(ctx context.Context, w http.ResponseWriter, desk *Desk) {
	begun := false
	encoder := json.NewEncoder(w)
	err := desk.Watch(ctx, func(event Event) error {
		if !begun {
			begun = true
			header(w, "application/x-ndjson")
		}
		if err := encoder.Encode(event); err != nil {
			return err
		}
		return http.NewResponseController(w).Flush()
	})
	if err != nil && !begun {
		reply(w, nil, err)
	}
}
