package onceward

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/onceward/onceward/driver"
)

// Trace is one thing that happened, as [Options.Trace] is told. It never holds a key, a body or an owner.
//
// Step is one of
//
//	acquired taken-over replayed refused unprotected   what came of a Begin
//	extended given-up lease-lost overrun               while it runs
//	completed released                                 how it ended
//	completed-pending released-pending given-up-pending  the store did not answer; the guard keeps trying
//	abandoned                                            Close gave that up
//	begin-undone                                       an unknown Begin was released
//	resolved                                           somebody ended a doubt
//	waiting waited                                     a duplicate waits
//	store-call                                         one call of the store: Verb, Took, Err
//	breaker-open breaker-closed swept sweep-stopped    the guard itself
type Trace struct {
	Step string
	// ID, Labels, Attempt and Fence say which attempt of which key; zero where there is none.
	ID      driver.ID
	Labels  driver.Labels
	Attempt int
	Fence   uint64
	// Kind and Size describe the outcome that was stored or replayed.
	Kind driver.Kind
	Size int
	// Count is how many records were swept.
	Count int
	// Verb is the store's verb.
	Verb string
	// Took is how long the step took; for an ending, how long the attempt ran.
	Took time.Duration
	// Reason is why it was refused (the text of an Err… variable, or a door's code), given up or released.
	Reason string
	// Err is what went wrong.
	Err error
}

// trace tells the hook and the log.
func (c *core) trace(ctx context.Context, t Trace) {
	if c.opts.Trace != nil {
		c.opts.Trace(ctx, t)
	}
	if c.opts.Logger != nil {
		logTrace(ctx, c.opts.Logger, t)
	}
}

func (c *core) traced() bool { return c.opts.Trace != nil || c.opts.Logger != nil }

func logTrace(ctx context.Context, log *slog.Logger, t Trace) {
	level := traceLevel(t)
	if !log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	if t.ID != (driver.ID{}) {
		add("id", t.ID.Short())
		add("key", t.Labels.KeyHint)
		add("operation", bounded(t.Labels.Operation, 256))
	}
	if t.Attempt > 0 {
		attrs = append(attrs, slog.Int("attempt", t.Attempt), slog.Uint64("fence", t.Fence))
	}
	if t.Kind != 0 {
		attrs = append(attrs, slog.String("outcome", t.Kind.String()), slog.Int("bytes", t.Size))
	}
	if t.Count > 0 {
		attrs = append(attrs, slog.Int("count", t.Count))
	}
	if t.Took > 0 {
		attrs = append(attrs, slog.Duration("took", t.Took))
	}
	add("verb", t.Verb)
	add("reason", t.Reason)
	if t.Err != nil {
		add("error", t.Err.Error())
	}
	log.LogAttrs(ctx, level, t.Step, attrs...)
}

// bounded cuts what a caller may make as long as a request's header.
func bounded(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

// traceLevel is Debug for what happens all the time, Warn for what an operator may have to act on.
func traceLevel(t Trace) slog.Level {
	switch t.Step {
	case "store-call":
		if t.Err != nil && !errors.Is(t.Err, driver.ErrLost) {
			return slog.LevelWarn
		}
		return slog.LevelDebug
	case "lease-lost", "overrun", "given-up", "completed-pending", "released-pending", "given-up-pending", "abandoned", "breaker-open",
		"unprotected", "sweep-stopped":
		return slog.LevelWarn
	case "taken-over", "resolved", "breaker-closed", "begin-undone":
		return slog.LevelInfo
	case "refused":
		if t.Err != nil { // there is more to say than the caller was told
			return slog.LevelInfo
		}
		return slog.LevelDebug
	case "swept":
		if t.Err != nil {
			return slog.LevelWarn
		}
		return slog.LevelDebug
	default:
		return slog.LevelDebug
	}
}
