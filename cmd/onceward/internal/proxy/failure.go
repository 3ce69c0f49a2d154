package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
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
	// Under rerun, and not the upstream's fault: the guard broke the request off, because somebody else may run it by now.
	overtaken = oncehttp.Problem{Status: 409, Code: "in-doubt", Title: "It is not known how the request ended",
		Detail: "This proxy did not run, or did not reach its store, for longer than a lease."}
)

// fail answers for an upstream that did not. R is the upstream's request.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	pass := passageOf(r.Context())
	if pass.attempt == nil && r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client has left, and took its request along
	}
	problem := whatFailed(r.Context(), pass, err)
	means := p.end(w, pass, &problem)
	p.warn(r.Context(), pass, problem.Code+": "+means, err)
	problem.Write(w, "")
}

func (p *Proxy) warn(ctx context.Context, pass *passage, message string, err error) {
	about := []slog.Attr{slog.String("operation", pass.operation)}
	if a := pass.attempt; a != nil {
		about = append(about, slog.String("id", a.ID().Short()), slog.Int("attempt", a.Number()), slog.Uint64("fence", a.Fence()))
	}
	p.log.LogAttrs(ctx, slog.LevelWarn, message, append(about, slog.String("error", cause(ctx, pass, err)))...)
}

func whatFailed(ctx context.Context, pass *passage, err error) oncehttp.Problem {
	switch {
	case errors.Is(err, errUnasked): // it may still be sent, at this moment
		return brokeOff
	case !pass.sent():
		return unavailable
	case unprocessed(err) && !pass.began.Load():
		return refused
	case errors.Is(context.Cause(ctx), onceward.ErrLeaseLost):
		return overtaken
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
		reason := problem.Code
		if *problem == overtaken {
			reason = "lease-lost"
		}
		_ = attempt.Doubt(reason) // the guard traces what goes wrong
		return "the key is in doubt"
	}
}

// timedOut also reports an attempt that ran for longer than its policy allows: that is how its context ends.
func timedOut(ctx context.Context, err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || ctx.Err() != nil
}

// plain is an error in words of ours.
type plain string

func (e plain) Error() string { return string(e) }

// kinds are what net/http's errors without a type of their own begin with, and what to say instead.
var kinds = [...]struct{ begins, kind string }{
	{"http: server closed idle connection", "the connection ended"},
	{"readLoopPeekFailLocked: ", string(errSurplus)},
	{"http2: client conn", "the connection ended"},
	{"http2: server sent GOAWAY", "HTTP/2: GOAWAY"},
	{"http2: Transport received GOAWAY", "HTTP/2: GOAWAY"},
	{"http2: Transport: cannot retry err [http2: Transport received Server's graceful shutdown GOAWAY]", "HTTP/2: GOAWAY"},
	{"http2: Transport: cannot retry err [", "HTTP/2: the stream was reset"},
	{"stream error: ", "HTTP/2: the stream was reset"},
	{"connection error: ", "HTTP/2: the connection was given up"},
}

// cause is what may be logged of err: words of ours and the system's. Those of net/http quote what the service said.
func cause(ctx context.Context, pass *passage, err error) string {
	var (
		own         plain
		system      *net.OpError
		timeout     net.Error
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &own):
		return string(own)
	case ctx.Err() != nil:
		return ctx.Err().Error()
	case errors.As(err, &system):
		return system.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.As(err, &certificate):
		return distrust(certificate)
	case errors.As(err, &record):
		return "the service does not speak TLS"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended"
	}
	for _, k := range kinds {
		if strings.HasPrefix(err.Error(), k.begins) {
			return k.kind
		}
	}
	if pass.use.Load() == nil {
		return "no connection, or no TLS"
	}
	return "malformed HTTP"
}

// distrust says what is wrong with a certificate, without the names in it.
func distrust(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return "the service's certificate is of an authority that is not known here"
	case errors.As(err, &host):
		return "the service's certificate is not for the host of its URL"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the service's certificate has expired, or is not valid yet"
	default:
		return "the service's certificate is not valid"
	}
}

// Unquoted is for the standard logger of a process that has a proxy: each line becomes one in log, without its text. Net/http
// writes there what a service said out of turn, and has no other place for it. Log must not itself write to the standard
// logger, as slog's default does. The writer is safe for concurrent use.
func Unquoted(log *slog.Logger) io.Writer { return unquoted{log} }

type unquoted struct{ log *slog.Logger }

func (u unquoted) Write(line []byte) (int, error) {
	u.log.Warn("net/http has something to say about a connection: it is left out, because it may quote what a service said")
	return len(line), nil
}
