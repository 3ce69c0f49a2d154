// Package oncehttp guards net/http handlers: a request that is sent again with the same Idempotency-Key gets the stored
// answer, and the handler does not run a second time.
//
// It follows the IETF draft "The Idempotency-Key HTTP Header Field" (-07) and RFC 9457 for what it refuses.
//
//	once := oncehttp.New(guard, customer, nil)
//	mux.Handle("POST /payments", once(http.HandlerFunc(createPayment)))
//
// Order matters: authentication goes outside, so that strangers never reach a stored answer; then oncehttp; then whatever
// reads the request's body. Compression goes outside too: a stored answer is replayed with the Content-Encoding that it
// had, whatever the retry accepts. An http.TimeoutHandler may stand on either side.
//
// The handler runs with the context of its attempt, which outlives the client: [onceward.FromContext] finds the attempt.
// It may say how it ended in the response header Idempotency-Control, which is not sent: final, retry (nothing happened),
// in-doubt or no-store. It may also end the attempt itself, with Release, Doubt or Tombstone; what it answers is then sent
// and not stored. Complete is ours: what is stored has to be an answer that we can replay.
package oncehttp

import (
	"errors"
	"net/http"
	"time"

	"github.com/onceward/onceward"
)

// New returns what guards a handler. It may guard several, which then share the bounds of opts, and is safe for concurrent
// use.
//
// Scope says whose key it is: the tenant or principal of an authenticated request. It is called before the body is read
// and must not read it. Its error is answered with 400 scope-missing, and its text goes to the guard's log only. An outage
// is not the client's fault: return a [Problem] with status 503 for it, which is answered as it is. [SingleTenant] is the
// scope of a service that has one customer.
//
// Opts may be nil. Like http.ServeMux.Handle, New panics when it is called wrongly, at start-up: it has no error to
// return because no program can go on without it.
func New(
	guard *onceward.Guard, scope func(*http.Request) (string, error), opts *Options,
) func(http.Handler) http.Handler {
	if guard == nil {
		panic("oncehttp: New needs a guard: make one with onceward.New")
	}
	if scope == nil {
		panic("oncehttp: New needs a scope, which says whose key a request carries, so that two customers' keys never " +
			"meet; a service with one customer passes oncehttp.SingleTenant")
	}
	c, err := newConfig(opts)
	if err == nil {
		err = c.bind(guard)
	}
	if err != nil {
		panic(err.Error())
	}
	c.scope = scope
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic("oncehttp: there is no handler to guard")
		}
		return &handler{config: c, next: next}
	}
}

// SingleTenant is the scope of a service in which all keys belong to one customer.
func SingleTenant(*http.Request) (string, error) { return "single-tenant", nil }

type handler struct {
	*config
	next http.Handler
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !h.guards(r) {
		h.next.ServeHTTP(w, unmarked(r))
		return
	}
	x := &exchange{handler: h, w: w, r: r}
	defer x.close()
	if err := x.begin(); err != nil {
		x.refuse(err)
	} else if stored, ok := x.attempt.Outcome(); ok {
		x.replay(stored, true)
	} else {
		x.run()
	}
}

// exchange is one guarded request and its answer.
type exchange struct {
	*handler
	w http.ResponseWriter
	r *http.Request

	key     onceward.Key
	derived bool
	wait    time.Duration // what the client asked for and gets
	entered bool          // counted in its scope
	body    spool
	leave   func() // ends what Transactions opened; nil where there is nothing
	attempt *onceward.Attempt
	rec     recorder
	value   [1]string // of the field that mark adds
}

// begin asks for the key. What is cheap to refuse is refused before the body is read, and the body is read before the key
// is asked for, so that a slow one holds no lease.
func (x *exchange) begin() error {
	if err := x.admit(); err != nil {
		return err
	}
	if err := x.body.fill(x.w, x.r, x.config); err != nil {
		return err
	}
	input, err := x.Fingerprint.of(x.r, &x.body)
	if err != nil {
		return err
	}
	if x.derived {
		if x.key.Value, err = x.derive(input); err != nil {
			return err
		}
	}
	var also []onceward.Fingerprint
	for _, older := range x.Also {
		f, err := older.of(x.r, &x.body)
		if err != nil {
			return err
		}
		also = append(also, f)
	}
	return x.ask(input, also)
}

func (x *exchange) ask(input onceward.Fingerprint, also []onceward.Fingerprint) error {
	late := x.late()
	if late {
		record, err := x.guard.Lookup(x.r.Context(), x.key)
		if err != nil {
			return err
		}
		if record.State() == "absent" {
			return problemKeyExpired
		}
	}
	ctx := x.r.Context()
	if x.Transactions != nil {
		ctx, x.leave = x.Transactions.Open(ctx)
	}
	attempt, err := x.guard.Begin(ctx, x.key, x.policyFor(), input, also...)
	if err != nil {
		return err
	}
	x.attempt = attempt
	if _, replay := attempt.Outcome(); late && !replay && attempt.Number() == 1 {
		// The record went while we asked: this would be the run that the check is there to prevent.
		_ = attempt.Release("the key is expired")
		return problemKeyExpired
	}
	return nil
}

// run runs the handler and ends the attempt, also when the handler panics or ends its goroutine. The panic goes on.
func (x *exchange) run() {
	rec := &x.rec
	rec.open(x)
	req := x.request()
	ended := false
	defer func() {
		if !ended {
			x.failed(rec)
		}
		x.attempt.Cancel()
		rec.close()
		if req.MultipartForm != nil { // net/http removes the files of its own request only
			_ = req.MultipartForm.RemoveAll()
		}
	}()
	class, err := x.serve(rec, req)
	ended = true
	switch {
	case err != nil:
		x.undo(rec, err)
	case !x.attempt.Ended():
		x.conclude(rec, class)
	case !rec.sent:
		rec.send("", "")
	}
}

// request is what the handler sees: the spooled body, the attempt's context, and no header that only we may set.
func (x *exchange) request() *http.Request {
	req := x.r.WithContext(x.attempt.Context())
	req.Body, req.ContentLength, req.TransferEncoding = x.body.reader(), x.body.size, nil
	req.Header = withoutOurs(req.Header)
	return req
}

// conclude stores first and answers then. What has been flushed cannot be taken back: if the key was lost meanwhile, the
// connection is aborted, so that the client does not take the answer for the one that counts.
func (x *exchange) conclude(rec *recorder, class Class) {
	err := x.end(rec, class)
	pending := errors.Is(err, onceward.ErrUnavailable) && !errors.Is(err, onceward.ErrLeaseLost)
	switch {
	case rec.sent && (err == nil || pending):
	case rec.sent:
		panic(http.ErrAbortHandler)
	case err == nil && class == Final && rec.keeping:
		rec.send(headerExpires, x.expires())
	case pending && (class == Final || class == NoStore):
		rec.send(headerStored, "false")
	case err == nil || pending:
		rec.send("", "")
	default:
		rec.withdraw()
		if stored, ok := x.attempt.Outcome(); ok {
			x.replay(stored, false)
		} else {
			x.refuse(err)
		}
	}
}

// end ends the attempt as its class says. What cannot be kept leaves a tombstone.
func (x *exchange) end(rec *recorder, class Class) error {
	switch {
	case class == Released:
		return x.attempt.Release("the answer says that nothing happened")
	case class == InDoubt:
		return x.attempt.Doubt("the answer says that nobody knows how it ended")
	case class == Final && rec.keeping:
		err := x.attempt.Complete(rec.encode())
		rec.shared = err != nil // a call that did not answer may still read it
		return err
	case class == NoStore:
		return x.attempt.Tombstone(rec.summary("no-store"))
	default:
		return x.attempt.Tombstone(rec.summary("too-large"))
	}
}

// failed ends the attempt of a handler that did not return. Under Hold that end is what a retry gets; the first client
// gets what net/http makes of the panic.
func (x *exchange) failed(rec *recorder) {
	const reason = "handler-failed"
	sent := rec.abandon()
	// The errors say what the guard has traced already, and there is no answer in which to repeat them.
	switch {
	case x.attempt.Ended():
	case x.rerun():
		_ = x.attempt.Release(reason)
	case sent:
		_ = x.attempt.Tombstone(rec.summary(reason))
	default:
		_ = x.attempt.Complete(problemHandlerFailed.encode(x.ProblemBase))
	}
}

func (x *exchange) rerun() bool { return x.attempt.OnCrash() == onceward.Rerun }

// replay answers with what is stored.
func (x *exchange) replay(stored []byte, authorize bool) {
	if authorize && x.Authorize != nil {
		if err := x.Authorize(x.r); err != nil {
			x.refuse(forbidden(err))
			return
		}
	}
	a, err := decodeAnswer(stored)
	if err != nil {
		x.refuse(&onceward.RefusedError{Reason: onceward.ErrUnavailable, Cause: err, RetryAfter: time.Second})
		return
	}
	header := x.w.Header()
	for _, f := range a.header {
		header[f.name] = f.values
	}
	if _, ok := header["Content-Type"]; !ok {
		header["Content-Type"] = nil // the first answer had none either: net/http must not guess one
	}
	x.mark(header, headerExpires, x.expires())
	header[headerReplayed] = yes
	a.writeTo(x.w)
}

func (x *exchange) expires() string {
	return time.Now().Add(x.attempt.Retention()).UTC().Format(http.TimeFormat)
}

func (x *exchange) close() {
	if x.leave != nil {
		x.leave()
	}
	x.body.close()
	if x.entered {
		x.scopes.leave(x.key.Scope)
	}
}
