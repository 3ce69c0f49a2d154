package oncehttp

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/onceward/onceward"
)

// Problem is a refusal as the client is told it (RFC 9457). All of it is shown, so it must hold no internal text.
type Problem struct {
	// Status is the HTTP status.
	Status int
	// Code names the problem, and is the end of its type.
	Code string
	// Title says what is wrong, the same for each occurrence.
	Title string
	// Detail says what to do. It may be empty.
	Detail string
	// Retryable says that the same request with the same key may succeed later.
	Retryable bool
	// SafeNewKey says that a new key cannot do twice what this key may have done.
	SafeNewKey bool
	// RetryAfter is sent as Retry-After, rounded up to seconds. Zero sends none.
	RetryAfter time.Duration
}

// Error is code and title.
func (p *Problem) Error() string { return "oncehttp: " + p.Code + ": " + p.Title }

const (
	titleKey  = "The idempotency key cannot be read"
	titleBusy = "The service cannot take the request now"
)

// The problems that arise before the key is asked for. SafeNewKey is false wherever an earlier request with the key may
// have run.
var (
	problemKeyHop = &Problem{Status: 400, Code: "key-invalid", Title: titleKey, SafeNewKey: true,
		Detail: "The Connection field names the key's field, so that the key would not reach the service."}
	// Such targets have no path, so that all of them would be one operation.
	problemTarget = &Problem{Status: 400, Code: "target-invalid", Title: "The request's target has no path", SafeNewKey: true,
		Detail: "Send a path, such as /payments."}
	problemNotDerivable = &Problem{Status: 400, Code: "key-missing", Title: "The request needs an idempotency key",
		Detail: "A key can only be derived from a JSON body. Send a key.", SafeNewKey: true}
	problemScopeMissing = &Problem{Status: 400, Code: "scope-missing", Title: "It is not known whose key this is",
		Detail: "Authenticate as the service asks for it."}
	problemTooManyKeys = &Problem{Status: 429, Code: "too-many-keys", Title: "Too many requests are in progress",
		Detail: "Send the same request with the same key later.", Retryable: true, RetryAfter: time.Second}
	problemBodyTooLarge = &Problem{Status: 413, Code: "body-too-large", Title: "The request body is too large"}
	problemBodyTimeout  = &Problem{Status: 408, Code: "body-timeout", Title: "The request body did not arrive in time",
		Detail: "Send the same request with the same key again.", Retryable: true}
	problemBodyCutOff = &Problem{Status: 400, Code: "body-cut-off", Title: "The request body ended too soon",
		Detail: "Send the same request with the same key again.", Retryable: true}
	problemBusy = &Problem{Status: 503, Code: "busy", Title: titleBusy,
		Detail: "Send the same request with the same key later.", Retryable: true, RetryAfter: time.Second}
	problemKeyExpired = &Problem{Status: 409, Code: "key-expired", Title: "The idempotency key is too old",
		Detail: "An answer to it, if there was one, is not kept any more. Find out what happened before you send a new key."}
	problemForbidden = &Problem{Status: 403, Code: "forbidden", Title: "The stored answer is not yours to see"}
)

// problemHandlerFailed is stored as the answer of a handler that did not return.
var problemHandlerFailed = &Problem{Status: 500, Code: "handler-failed", Title: "The operation failed",
	Detail: "It is not known whether it had an effect. It will not run again with this key."}

// problemAnswerTooLarge is for transactions only: elsewhere such an answer goes out while it is made.
var problemAnswerTooLarge = &Problem{Status: 500, Code: "answer-too-large", Title: "The answer is too large to be kept",
	Detail: "Nothing was changed.", SafeNewKey: true}

var (
	keyInvalid = Problem{Status: 400, Code: "key-invalid", Title: titleKey, SafeNewKey: true}
	inProgress = Problem{Status: 409, Code: "in-progress", Title: "The same request is still running",
		Detail: "Send the same request with the same key later.", Retryable: true, RetryAfter: time.Second}
)

// table says what the client is told for which error. The first row that matches counts.
var table = []struct {
	err error
	Problem
}{
	{ErrKeyMissing, Problem{Status: 400, Code: "key-missing", Title: "The request needs an idempotency key", SafeNewKey: true}},
	{ErrKeyRepeated, keyInvalid},
	{ErrKeyListed, keyInvalid},
	{ErrKeyTooLong, keyInvalid},
	{ErrKeyMalformed, keyInvalid},
	{onceward.ErrUnavailable, Problem{Status: 503, Code: "store-unavailable", Title: titleBusy,
		Detail: "Send the same request with the same key later.", Retryable: true, RetryAfter: time.Second}},
	{onceward.ErrInProgress, inProgress},
	{onceward.ErrLeaseLost, inProgress}, // whoever has the key now will have an answer
	{onceward.ErrKeyReused, Problem{Status: 422, Code: "key-reused", Title: "The key belongs to another request",
		Detail: "Send this request with a key of its own.", SafeNewKey: true}},
	{onceward.ErrInDoubt, Problem{Status: 409, Code: "in-doubt", Title: "It is not known how the request ended",
		Detail: "It will not run again with this key until somebody has resolved it. Find out what happened before you " +
			"send a new key."}},
	{onceward.ErrNotStored, Problem{Status: 409, Code: "outcome-not-stored", Title: "The request ended, its answer was not kept",
		Detail: "It will not run again with this key. The member outcome says what is known."}},
}

// problemOf finds the problem for an error. What nobody foresaw is unavailable: nothing about it is known to be safe.
func problemOf(err error) Problem {
	var own *Problem
	if errors.As(err, &own) {
		return *own
	}
	var refused *onceward.RefusedError
	if errors.As(err, &refused) {
		err = refused.Reason // its cause may be another row's
	}
	for _, row := range table {
		if !errors.Is(err, row.err) {
			continue
		}
		p := row.Problem
		var key KeyError
		if errors.As(err, &key) {
			p.Detail = string(key)
		}
		if refused != nil && refused.RetryAfter > 0 {
			p.RetryAfter = refused.RetryAfter
		}
		return p
	}
	return problemOf(onceward.ErrUnavailable)
}

func forbidden(err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return problemForbidden
}

// refuse answers with the problem for err.
func (x *exchange) refuse(err error) {
	p := problemOf(err)
	x.explain(&p, err)
	var outcome json.RawMessage
	var refused *onceward.RefusedError
	if errors.As(err, &refused) && errors.Is(refused.Reason, onceward.ErrNotStored) {
		if x.Authorize != nil {
			if err := x.Authorize(x.r); err != nil {
				x.refuse(forbidden(err))
				return
			}
		}
		outcome = readSummary(refused.Record.Outcome.Bytes)
	}
	x.expose(x.w.Header())
	p.send(x.w, x.ProblemBase, outcome)
}

// explain adds what depends on the options, and tells the guard of what it cannot know: requests that are refused before
// it is asked.
func (x *exchange) explain(p *Problem, err error) {
	switch {
	case errors.Is(err, ErrKeyMissing):
		p.Detail = "Send the header field " + x.Header + " with a key made where the operation begins."
	case errors.Is(err, problemBodyTooLarge):
		p.Detail = "The body may have " + strconv.FormatInt(x.MaxBody, 10) + " bytes at most."
	}
	var refused *onceward.RefusedError
	if errors.As(err, &refused) {
		return
	}
	t := onceward.Trace{Step: "refused", Reason: p.Code}
	t.Labels.Operation = x.key.Operation
	var scope *scopeError
	if errors.As(err, &scope) {
		t.Err = scope.cause
	}
	x.guard.Trace(x.r.Context(), t)
}

// Write answers with the problem. Base begins its type, and the code follows; "" is where this project documents its own.
func (p *Problem) Write(w http.ResponseWriter, base string) {
	p.send(w, cmp.Or(base, defaultProblemBase), nil)
}

func (p *Problem) send(w http.ResponseWriter, base string, outcome json.RawMessage) {
	header := w.Header()
	body := p.body(base, outcome)
	header["Content-Type"] = problemType
	header["Cache-Control"] = noStore
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	delete(header, "Content-Encoding")
	if p.RetryAfter > 0 {
		header["Retry-After"] = []string{seconds(p.RetryAfter)}
	}
	if p.Status == http.StatusRequestTimeout || p.Status == http.StatusRequestEntityTooLarge {
		header["Connection"] = []string{"close"} // the rest of the body is not read
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // an error means that the client left
}

var problemType = []string{"application/problem+json"}

func (p *Problem) body(base string, outcome json.RawMessage) []byte {
	body, _ := json.Marshal(struct { //nolint:errchkjson // strings and numbers always encode, and outcome was encoded before
		Type       string          `json:"type"`
		Title      string          `json:"title"`
		Status     int             `json:"status"`
		Code       string          `json:"code"`
		Detail     string          `json:"detail,omitempty"`
		Retryable  bool            `json:"retryable"`
		SafeNewKey bool            `json:"safe_new_key"`
		Outcome    json.RawMessage `json:"outcome,omitempty"`
	}{base + p.Code, p.Title, p.Status, p.Code, p.Detail, p.Retryable, p.SafeNewKey, outcome})
	return append(body, '\n')
}

// encode makes a stored answer of the problem.
func (p *Problem) encode(base string) []byte {
	buf := append(make([]byte, bodyAt, 1<<10), p.body(base, nil)...)
	return sealAnswer(buf, p.Status, []field{{"Cache-Control", noStore}, {"Content-Type", problemType}}, nil)
}
