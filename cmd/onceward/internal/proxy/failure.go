package proxy

import (
	"context"
	"errors"
	"net"
	"net/http"
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
	brokeOff = oncehttp.Problem{Status: 502, Code: "upstream-failed", Title: titleUnknown, Detail: detailDoubt}
	overdue  = oncehttp.Problem{Status: 504, Code: "upstream-timeout", Title: titleUnknown, Detail: detailDoubt}
)

// fail answers for an upstream that did not. R is the upstream's request.
func (p *Proxy) fail(w http.ResponseWriter, r *http.Request, err error) {
	pass := passageOf(r.Context())
	if pass.attempt == nil && r.Context().Err() != nil {
		panic(http.ErrAbortHandler) // the client has left, and took its request along
	}
	problem, control := unavailable, "retry"
	if pass.sent() {
		problem, control = brokeOff, "in-doubt"
		if timedOut(r.Context(), err) {
			problem = overdue
		}
	}
	p.log.WarnContext(r.Context(), problem.Code, "method", r.Method, "path", r.URL.EscapedPath(), "error", err)
	if pass.attempt != nil {
		w.Header().Set(headerControl, control)
		problem.Retryable = problem.Retryable || pass.attempt.OnCrash() == onceward.Rerun
	}
	problem.Write(w, "")
}

// timedOut also reports an attempt that ran for longer than its policy allows: that is how its context ends.
func timedOut(ctx context.Context, err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() || ctx.Err() != nil
}
