// Package access logs requests: one line each, when it ends, with what was made of it.
//
// A line never holds a header field, a body, a key or a query.
package access

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
)

// Logger is a handler that logs what goes through it. It is safe for concurrent use.
type Logger struct {
	next http.Handler
	log  *slog.Logger
}

// Log returns a handler that passes requests to next and writes a line about each to log, at level info. It belongs
// outside of everything else; [Trace] has to be a hook of the guard inside.
func Log(next http.Handler, log *slog.Logger) *Logger { return &Logger{next, log} }

// Trace notes what the guard made of a request, which it finds in ctx.
func Trace(ctx context.Context, t onceward.Trace) {
	switch t.Step {
	case "acquired", "taken-over", "replayed", "refused", "unprotected":
		if e, ok := ctx.Value(entryKey{}).(*entry); ok {
			e.note(&t)
		}
	}
}

// ServeHTTP logs requests that were broken off too, and lets the panic that breaks them off go on.
func (l *Logger) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !l.log.Enabled(r.Context(), slog.LevelInfo) {
		l.next.ServeHTTP(w, r)
		return
	}
	begun := time.Now()
	e := &entry{Context: r.Context(), writer: writer{ResponseWriter: w}, step: "unguarded"}
	returned := false
	defer func() { e.log(l.log, r, time.Since(begun), !returned) }()
	l.next.ServeHTTP(&e.writer, r.WithContext(e))
	returned = true
}

// entry is one request: the context in which the guard finds it, and the answer's way out.
type entry struct {
	context.Context //nolint:containedctx // it is wrapped, as the context package wraps its own

	writer writer

	mu   sync.Mutex // an http.TimeoutHandler inside would let the handler go on alone
	step string
	code string
	id   driver.ID
}

type entryKey struct{}

// Value finds the entry itself, or what the request's context holds.
func (e *entry) Value(key any) any {
	if key == (entryKey{}) {
		return e
	}
	return e.Context.Value(key)
}

// note keeps the last verdict: a replay may still be refused, because its caller may not see it.
func (e *entry) note(t *onceward.Trace) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.step, e.code = t.Step, code(t.Reason)
	if t.ID != (driver.ID{}) {
		e.id = t.ID
	}
}

func (e *entry) log(log *slog.Logger, r *http.Request, took time.Duration, aborted bool) {
	status, sent := e.writer.answered(aborted)
	attrs := make([]slog.Attr, 0, 9)
	attrs = append(attrs,
		slog.String("method", bounded(r.Method)), slog.String("path", bounded(r.URL.EscapedPath())),
		slog.Int("status", status), slog.Int64("bytes", sent), slog.Duration("took", took))
	e.mu.Lock()
	attrs = append(attrs, slog.String("step", e.step))
	if e.id != (driver.ID{}) {
		attrs = append(attrs, slog.String("id", e.id.Short()))
	}
	if e.code != "" {
		attrs = append(attrs, slog.String("code", e.code))
	}
	e.mu.Unlock()
	if aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	log.LogAttrs(r.Context(), slog.LevelInfo, "request", attrs...)
}

// bounded cuts what a client may make as long as its header.
func bounded(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// reasons are the guard's, with the codes of their problems. A door gives its codes themselves.
var reasons = map[string]string{
	onceward.ErrInProgress.Error():  "in-progress",
	onceward.ErrKeyReused.Error():   "key-reused",
	onceward.ErrInDoubt.Error():     "in-doubt",
	onceward.ErrNotStored.Error():   "outcome-not-stored",
	onceward.ErrUnavailable.Error(): "store-unavailable",
}

func code(reason string) string {
	if code, ok := reasons[reason]; ok {
		return code
	}
	return reason
}
