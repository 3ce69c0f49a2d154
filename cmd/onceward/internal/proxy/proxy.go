// Package proxy passes requests on to one upstream, at most once each.
//
// It knows about guarding only what [onceward.FromContext] tells it: a request that carries an attempt is guarded, every
// other one is passed through.
//
// What net/http refuses before a request gets here: a header that takes longer than the server's ReadHeaderTimeout or is
// larger than its MaxHeaderBytes, two different Content-Length fields, a Transfer-Encoding other than chunked, and NUL or
// CR inside a field. It accepts Transfer-Encoding beside Content-Length, folded lines, and lines that end in LF alone, but
// resolves them before any handler runs: the length is dropped, the fold becomes a space. They cannot be seen here, and
// cannot split a request behind us, because the upstream gets one that is framed and written anew.
package proxy

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward"
)

// Options are the proxy's. Zero fields mean the documented defaults.
type Options struct {
	// UpstreamIdle is how long an unused connection to the upstream is kept. Guarded requests use one that was unused for
	// less than half of it, because a request on a connection that the upstream is just closing is in doubt. If it is
	// negative, each request opens a connection. Defaults to 2 s.
	UpstreamIdle time.Duration
	// AnswerTimeout is how long the upstream may take until it begins to answer. Guarded requests have the policy's
	// MaxExecution besides. Defaults to 10 min.
	AnswerTimeout time.Duration
	// MaxAttempts is the policy's: after so many attempts that failed, a key is in doubt under rerun too, and the client of
	// the last one is not told to try again. Defaults to 5, as the policy's does.
	MaxAttempts int
	// TrustForwarded says that something in front sets Forwarded, X-Real-Ip and all X-Forwarded fields, and removes those of
	// its clients. They are then passed on, and X-Forwarded-For gets one address more. Defaults to false: they are removed.
	TrustForwarded bool
	// ScopeHeader is a field that says whose key a request carries. It is passed on also if it is an X-Forwarded one, since
	// it is trusted anyway. Defaults to none.
	ScopeHeader string
	// Logger is told what goes wrong with the upstream. Defaults to slog.Default.
	Logger *slog.Logger
}

// Proxy is a handler that passes requests on. It is safe for concurrent use.
type Proxy struct {
	to             *url.URL // http or https
	h2c            bool
	trustForwarded bool
	scopeHeader    string
	log            *slog.Logger
	maxAttempts    int
	reverse        httputil.ReverseProxy
	plain, guarded *http.Transport
	unguarded      underway
	strange        words
}

// flushAfter is how long the beginning of a guarded answer is held back for the rest: an answer that is complete by then
// is stored before it is sent.
const flushAfter = time.Second

// New returns a proxy to an upstream, an absolute http, https or h2c URL; h2c is HTTP/2 without TLS. A path of it is put in
// front of every request's. Options may be nil.
func New(to *url.URL, opts *Options) *Proxy {
	var o Options
	if opts != nil {
		o = *opts
	}
	o.UpstreamIdle = cmp.Or(o.UpstreamIdle, 2*time.Second)
	o.AnswerTimeout = cmp.Or(o.AnswerTimeout, 10*time.Minute)
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 5)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	target, h2c := *to, to.Scheme == "h2c"
	if h2c {
		target.Scheme = "http"
	}
	p := &Proxy{
		to: &target, h2c: h2c, trustForwarded: o.TrustForwarded, scopeHeader: http.CanonicalHeaderKey(o.ScopeHeader),
		log: o.Logger, maxAttempts: o.MaxAttempts,
		plain:   newTransport(h2c, o.UpstreamIdle, o.AnswerTimeout),
		guarded: newTransport(h2c, half(o.UpstreamIdle), o.AnswerTimeout),
	}
	p.guarded.DialContext = countWrites(p.guarded.DialContext)
	p.reverse = httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      roundTripper(p.roundTrip),
		FlushInterval:  flushAfter,
		ModifyResponse: p.inspect,
		ErrorHandler:   p.fail,
		BufferPool:     &buffers{},
		ErrorLog:       log.New(io.Discard, "", 0), // answers that break off, which watched tells of without quoting them
	}
	return p
}

// half of an idle time is never 0, which would mean for ever.
func half(idle time.Duration) time.Duration {
	if idle < 0 {
		return idle
	}
	return max(idle/2, 1)
}

// ServeHTTP passes r on and the answer back.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect { // it asks for a tunnel to a place of the client's choice
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	attempt, guarded := onceward.FromContext(r.Context())
	if problem := unfit(r, p.to); problem != nil {
		if guarded {
			w.Header().Set(headerControl, "retry") // nothing was sent
		}
		problem.Write(w, "")
		return
	}
	pass := &passage{operation: bounded(r.Method + " " + r.URL.EscapedPath())}
	ctx := context.WithValue(r.Context(), passageKey{}, pass)
	if guarded {
		pass.attempt = attempt
		defer pass.settle()
	} else {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer p.unguarded.enter(pass, func() { cutOff(w, cancel) })()
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:        func(info httptrace.GotConnInfo) { pass.gotConn(ctx, info, p.h2c) },
		Got1xxResponse: func(int, textproto.MIMEHeader) error { pass.began.Store(true); return nil },
	})
	p.reverse.ServeHTTP(&wayBack{ResponseWriter: w, pass: pass}, r.WithContext(ctx))
}

// EndUnguarded ends the requests under way that are not guarded, upgraded connections among them, and all that are still to
// come. Guarded ones come to their end. It is for a process that has to end.
func (p *Proxy) EndUnguarded() { p.unguarded.end() }

// cutOff ends a request, wherever it waits: for the upstream, or for a client that neither sends nor takes.
func cutOff(w http.ResponseWriter, cancel context.CancelFunc) {
	cancel()
	control, past := http.NewResponseController(w), time.Unix(1, 0)
	_ = control.SetReadDeadline(past)
	_ = control.SetWriteDeadline(past)
}

// underway are requests that can be ended.
type underway struct {
	mu   sync.Mutex
	over bool
	ends map[*passage]func()
}

// enter notes how to end a request. Once leave has returned it is not ended any more.
func (u *underway) enter(pass *passage, end func()) (leave func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.over {
		end()
	}
	if u.ends == nil {
		u.ends = map[*passage]func(){}
	}
	u.ends[pass] = end
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.ends, pass)
	}
}

func (u *underway) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.over = true
	for _, end := range u.ends {
		end()
	}
}

// passage is one request on its way through.
type passage struct {
	operation string            // as the guard calls it, but bounded
	attempt   *onceward.Attempt // nil if the request is not guarded
	use       atomic.Pointer[use]
	began     atomic.Bool // an informational answer came

	// Set once the upstream's header is here.
	status   int
	location string
	since    time.Time
	stream   bool  // of events, which are passed on one by one
	broken   error // with which the answer's body broke off
}

// bounded cuts what a client may make as long as its header.
func bounded(s string) string {
	const most = 256
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

type passageKey struct{}

func passageOf(ctx context.Context) *passage {
	pass, _ := ctx.Value(passageKey{}).(*passage)
	return pass
}

// summary is what a tombstone knows, in the form in which oncehttp tells it to those who retry.
type summary struct {
	Reason   string `json:"reason"`
	Status   int    `json:"status"`
	Location string `json:"location,omitempty"`
}

// settle ends the attempt if the answer broke off: the upstream did end, its status is known, the rest is not. The client's
// connection is aborted, so that it does not take what it has for the whole.
func (pass *passage) settle() {
	if pass.broken == nil {
		return
	}
	known := summary{"upstream-broke-off", pass.status, pass.location}
	text, _ := json.Marshal(known)   //nolint:errchkjson // strings and numbers always encode
	_ = pass.attempt.Tombstone(text) // the guard traces what goes wrong, and there is no answer to say it in
	panic(http.ErrAbortHandler)
}

// buffers lends what answers are copied through.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if buffer, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buffer[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(buffer []byte) { b.pool.Put((*[bufferSize]byte)(buffer)) }
