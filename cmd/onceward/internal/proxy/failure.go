package proxy

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/oncehttp"
)

const (
	titleUnknown = "The service did not answer"
	detailDoubt  = "It is not known whether the request had an effect."
)

// The ways in which an upstream can fail before it begins to answer.
var (
	unavailable = oncehttp.Problem{Status: 503, Code: "upstream-unavailable", Title: "The service cannot be reached",
		Detail: "Nothing was sent to it. Send the same request again later.", Retryable: true, RetryAfter: time.Second}
	refused = oncehttp.Problem{Status: 503, Code: unavailable.Code, Title: unavailable.Title,
		Detail: "It refused the request before it did anything. Send the same request again later.", Retryable: true,
		RetryAfter: time.Second}
	brokeOff = oncehttp.Problem{Status: 502, Code: "upstream-failed", Title: titleUnknown, Detail: detailDoubt}
	overdue  = oncehttp.Problem{Status: 504, Code: "upstream-timeout", Title: titleUnknown, Detail: detailDoubt}
)

// fail answers for an upstream that did not. R is the upstream's request.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	pass := passageOf(r.Context())
	if pass.attempt == nil && r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client has left, and took its request along
	}
	problem := whatFailed(r.Context(), pass, err)
	about := []slog.Attr{slog.String("operation", pass.operation)}
	if pass.attempt != nil {
		a := pass.attempt
		about = append(about, slog.String("id", a.ID().Short()), slog.Int("attempt", a.Number()), slog.Uint64("fence", a.Fence()))
	}
	means := p.end(w, pass, &problem)
	p.log.LogAttrs(r.Context(), slog.LevelWarn, problem.Code+": "+means, append(about, slog.String("error", err.Error()))...)
	problem.Write(w, "")
}

func whatFailed(ctx context.Context, pass *passage, err error) oncehttp.Problem {
	switch {
	case !pass.sent():
		return unavailable
	case unprocessed(err):
		return refused
	case timedOut(ctx, err):
		return overdue
	default:
		return brokeOff
	}
}

// unprocessed reports whether err is the upstream's word, over HTTP/2, that it did nothing with the request: its stream was
// reset with REFUSED_STREAM, or is above the last one of a GOAWAY (RFC 9113, section 8.7). Both reach us as net/http's word
// that it cannot send the body again. It says so after a PROTOCOL_ERROR too, which proves nothing, and has no other form for
// it than this text.
func unprocessed(err error) bool {
	text, ours := strings.CutPrefix(err.Error(), "http2: Transport: cannot retry err [")
	text, whole := strings.CutSuffix(text, "] after Request.Body was written; define Request.GetBody to avoid this error")
	if !ours || !whole {
		return false
	}
	if text == "http2: Transport received Server's graceful shutdown GOAWAY" {
		return true
	}
	stream, reset := strings.CutPrefix(text, "stream error: stream ID ")
	stream, peer := strings.CutSuffix(stream, "; REFUSED_STREAM; received from peer")
	_, err = strconv.ParseUint(stream, 10, 31)
	return reset && peer && err == nil
}

// end ends the attempt, if there is one, completes its problem, and returns what the end means, for the log.
func (p *Proxy) end(w http.ResponseWriter, pass *passage, problem *oncehttp.Problem) (means string) {
	attempt := pass.attempt
	switch {
	case attempt == nil:
		return "the request is not guarded"
	case *problem == unavailable:
		w.Header().Set(headerControl, "retry")
		return "nothing was sent, the key is free"
	case *problem == refused:
		w.Header().Set(headerControl, "retry")
		return "nothing was done, the key is free"
	case attempt.OnCrash() == onceward.Rerun && attempt.Number() < p.maxAttempts:
		// Somebody may have taken over: the guard finds out, and then answers with what is stored.
		w.Header().Set(headerControl, "in-doubt")
		problem.Retryable = true
		return "the next request with the key runs"
	default:
		// Nobody can take over. Whoever resolves the doubt finds the reason in the record.
		_ = attempt.Doubt(problem.Code) // the guard traces what goes wrong
		return "the key is in doubt"
	}
}

// timedOut also reports an attempt that ran for longer than its policy allows: that is how its context ends.
func timedOut(ctx context.Context, err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || ctx.Err() != nil
}
