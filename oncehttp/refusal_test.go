package oncehttp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// Nothing that is refused before the key is asked for leaves a trace: the handler has not run, the store knows nothing.
func TestRefusalsLeaveNothing(t *testing.T) {
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	body := func(size int) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat("x", size))), -1
		}
	}
	for _, c := range []struct {
		name    string
		change  func(*http.Request)
		scope   error
		options Options
		status  int
		code    string
	}{
		{name: "malformed key", change: header("Idempotency-Key", "a b"), status: 400, code: "key-invalid"},
		{name: "empty key", change: header("Idempotency-Key", ""), status: 400, code: "key-invalid"},
		{name: "two keys", change: header("Idempotency-Key", "k", "k"), status: 400, code: "key-invalid"},
		{name: "listed keys", change: header("Idempotency-Key", "k,l"), status: 400, code: "key-invalid"},
		{name: "hop by hop", change: header("Connection", "x, idempotency-key"), status: 400, code: "key-invalid"},
		{name: "scope", scope: errors.New("secret"), status: 400, code: "scope-missing"},
		{name: "scope's own problem", scope: fmt.Errorf("secret: %w", &Problem{Status: 401, Code: "scope-unstable"}),
			status: 401, code: "scope-unstable"},
		{name: "too large", change: body(101), options: Options{MaxBody: 100}, status: 413, code: "body-too-large"},
		{name: "too large, announced", change: func(r *http.Request) {
			body(101)(r)
			r.ContentLength = 101
		}, options: Options{MaxBody: 100}, status: 413, code: "body-too-large"},
		{name: "no room", change: body(101), options: Options{SpoolTotal: 100}, status: 503, code: "busy"},
		{name: "broken body", change: func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader("x"), broken{})), 9
		}, status: 400, code: "body-cut-off"},
		{name: "limited outside", change: func(r *http.Request) {
			body(101)(r)
			r.Body = http.MaxBytesReader(nil, r.Body, 100)
		}, status: 413, code: "body-too-large"},
	} {
		guard, err := onceward.New(memstore.New(nil), nil)
		check.NoError(t, err, "guard")
		ran := false
		scope := func(*http.Request) (string, error) { return "s", c.scope }
		w, r := httptest.NewRecorder(), keyed("/")
		if c.change != nil {
			c.change(r)
		}
		h := New(guard, scope, &c.options)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true }))
		h.ServeHTTP(w, r)
		check.Equal(t, w.Code, c.status, "%s: status", c.name)
		check.Equal(t, code(t, reply{w.Result(), w.Body.String()}), c.code, "%s: code", c.name)
		check.Equal(t, w.Header().Get("Cache-Control"), "no-store", "%s: Cache-Control", c.name)
		check.True(t, !strings.Contains(w.Body.String(), "secret"), "%s: internal text in %s", c.name, w.Body)
		check.True(t, !ran, "%s: the handler ran", c.name)
		for _, key := range []string{"k", "l", "k,l"} {
			record, err := guard.Lookup(t.Context(), onceward.Key{Scope: "s", Operation: "POST /", Value: key})
			check.NoError(t, err, "lookup")
			check.Equal(t, record.State(), "absent", "%s: the key", c.name)
		}
		config := h.(*handler).config
		check.Equal(t, config.spooled.Load(), 0, "%s: bytes that still count", c.name)
		check.NoError(t, guard.Close(context.Background()), "close")
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestSlowBody(t *testing.T) {
	s := newService(t, nil, &Options{BodyTimeout: 20 * time.Millisecond})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	check.NoError(t, err, "dial")
	defer conn.Close()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nIdempotency-Key: k\r\n\r\nhalf")
	check.NoError(t, err, "request")
	answer, err := io.ReadAll(conn) // ends because the server closes the connection
	check.NoError(t, err, "answer")
	check.True(t, strings.HasPrefix(string(answer), "HTTP/1.1 408 "), "%s", answer)
	check.Equal(t, s.state(t, "/", "k"), "absent", "the key")
}

func TestBodyTimeoutIsOver(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		<-time.After(20 * time.Millisecond) // longer than the body may take
		_, _ = io.Copy(w, r.Body)
	}, &Options{BodyTimeout: 10 * time.Millisecond})
	for _, key := range []string{"a", "b"} { // on one connection
		check.Equal(t, s.post(t, "/", key, "{}").body, "{}", "answer to %s", key)
	}
}

func TestStoreThatIsFull(t *testing.T) {
	guard, err := onceward.New(memstore.New(&memstore.Options{MaxRecords: 1}), nil) // the identity rules fill it
	check.NoError(t, err, "guard")
	s := newServiceOf(t, guard, nil, nil)
	refused := s.post(t, "/", "k", "{}")
	check.Equal(t, code(t, refused), "store-unavailable", "code")
	check.Equal(t, refused.StatusCode, 503, "status")
	check.Equal(t, refused.Header.Get("Retry-After"), "1", "Retry-After")
	check.Equal(t, s.runs.Load(), int64(0), "runs")

	s.use(&Options{Policy: &onceward.Policy{FailOpen: true}})
	open := s.post(t, "/", "k", "{}")
	check.Equal(t, open.StatusCode, 201, "status, failing open")
	check.Equal(t, open.Header.Get("Idempotency-Stored"), "false", "Idempotency-Stored")
	check.Equal(t, open.Header.Get("Idempotency-Expires"), "", "Idempotency-Expires")
}

func TestAuthorize(t *testing.T) {
	var err error
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/secret" {
			w.Header().Set("Idempotency-Control", "no-store")
		}
	}, &Options{Authorize: func(*http.Request) error { return err }})
	for _, path := range []string{"/", "/secret"} {
		err = errors.New("not you")
		check.Equal(t, s.post(t, path, "k", "{}").StatusCode, 200, "a run needs no second look")
		refused := s.post(t, path, "k", "{}")
		check.Equal(t, code(t, refused), "forbidden", "code")
		check.Equal(t, refused.StatusCode, 403, "status")
		check.Equal(t, s.state(t, path, "k"), "done", "the key")
		err = nil
		check.True(t, s.post(t, path, "k", "{}").StatusCode != 403, "allowed again")
	}
}

func TestDamagedRecord(t *testing.T) {
	guard, err := onceward.New(memstore.New(nil), nil)
	check.NoError(t, err, "guard")
	s := newServiceOf(t, guard, nil, nil)
	first := s.post(t, "/", "k", "{}")
	check.Equal(t, first.StatusCode, 201, "first")
	damaged := driver.Outcome{Kind: driver.Answer, Retain: time.Hour, Bytes: []byte("damaged")}
	r := driver.Resolution{Fence: 1, Force: true, Outcome: &damaged}
	key := onceward.Key{Scope: "single-tenant", Operation: "POST /", Value: "k"}
	check.NoError(t, guard.Resolve(t.Context(), key, r), "damaging it")
	check.Equal(t, code(t, s.post(t, "/", "k", "{}")), "store-unavailable", "an answer that cannot be read")
	check.Equal(t, s.runs.Load(), int64(1), "runs")
}

func TestManyOfOneScope(t *testing.T) {
	started, end := make(chan struct{}, 2), make(chan struct{})
	s := newService(t, func(http.ResponseWriter, *http.Request) {
		started <- struct{}{}
		<-end
	}, &Options{MaxPerScope: 1})
	first := make(chan reply)
	go func() { first <- s.post(t, "/", "a", "{}") }()
	<-started
	refused := s.post(t, "/", "b", "{}")
	check.Equal(t, refused.StatusCode, 429, "status")
	check.Equal(t, code(t, refused), "too-many-keys", "code")
	check.Equal(t, refused.Header.Get("Retry-After"), "1", "Retry-After")
	close(end)
	check.Equal(t, (<-first).StatusCode, 200, "the first")
	scopes := &(*s.guarded.Load()).(*handler).scopes
	s.Close() // waits until the server is done with the first
	check.Equal(t, len(scopes.by), 0, "scopes that still count")
}

func TestCORS(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "https://a.example")
		w.Header().Set("Access-Control-Expose-Headers", "X-Mine")
	}, nil)
	first, replay := s.post(t, "/", "k", "{}"), s.post(t, "/", "k", "{}")
	exposed := first.Header.Values("Access-Control-Expose-Headers")
	check.Equal(t, exposed[0], "X-Mine", "the handler's")
	check.True(t, strings.Contains(exposed[1], "Idempotent-Replayed"), "exposed: %v", exposed)
	check.Equal(t, replay.Header.Values("Access-Control-Expose-Headers"), exposed, "exposed by the replay")
}

func TestProblems(t *testing.T) {
	for _, c := range []struct {
		err               error
		status            int
		code              string
		retryable, newKey bool
		after             time.Duration
	}{
		{ErrKeyMissing, 400, "key-missing", false, true, 0},
		{ErrKeyTooLong, 400, "key-invalid", false, true, 0},
		{onceward.ErrUnavailable, 503, "store-unavailable", true, false, time.Second},
		{onceward.ErrInProgress, 409, "in-progress", true, false, time.Second},
		{onceward.ErrKeyReused, 422, "key-reused", false, true, 0},
		{onceward.ErrInDoubt, 409, "in-doubt", false, false, 0},
		{onceward.ErrNotStored, 409, "outcome-not-stored", false, false, 0},
		{onceward.ErrLeaseLost, 409, "in-progress", true, false, time.Second},
		{&onceward.RefusedError{Reason: onceward.ErrInDoubt, Cause: onceward.ErrLeaseLost}, 409, "in-doubt", false, false, 0},
		{&onceward.RefusedError{Reason: onceward.ErrUnavailable, RetryAfter: time.Minute}, 503, "store-unavailable", true, false, time.Minute},
		{problemKeyExpired, 409, "key-expired", false, false, 0},
		{problemTooManyKeys, 429, "too-many-keys", true, false, time.Second},
		{errors.New("unforeseen"), 503, "store-unavailable", true, false, time.Second},
	} {
		p := problemOf(c.err)
		check.Equal(t, p.Status, c.status, "%v: status", c.err)
		check.Equal(t, p.Code, c.code, "%v: code", c.err)
		check.Equal(t, p.Retryable, c.retryable, "%v: retryable", c.err)
		check.Equal(t, p.SafeNewKey, c.newKey, "%v: safe_new_key", c.err)
		check.Equal(t, p.RetryAfter, c.after, "%v: Retry-After", c.err)
		check.True(t, p.Title != "", "%v: no title", c.err)
	}
}

func TestWrongOptions(t *testing.T) {
	guard, err := onceward.New(memstore.New(nil), nil)
	check.NoError(t, err, "guard")
	defer guard.Close(context.Background())
	next := http.NotFoundHandler()
	for want, wrong := range map[string]func(){
		"needs a guard": func() { New(nil, SingleTenant, nil) },
		"needs a scope": func() { New(guard, nil, nil) },
		"no handler":    func() { New(guard, SingleTenant, nil)(nil) },
		"MaxBody is -1": func() { New(guard, SingleTenant, &Options{MaxBody: -1}) },
		"Keys is 3":     func() { New(guard, SingleTenant, &Options{Keys: 3}) },
		"KeyMaxAge is": func() {
			New(guard, SingleTenant, &Options{KeyMaxAge: time.Hour, Policy: &onceward.Policy{Retention: time.Hour}})
		},
		`holds "post"`:         func() { New(guard, SingleTenant, &Options{Methods: []string{"post"}}) },
		`Header is "a b"`:      func() { New(guard, SingleTenant, &Options{Header: "a b"}) },
		"is Authorization":     func() { New(guard, SingleTenant, &Options{Header: "authorization"}) },
		"is Content-Type":      func() { New(guard, SingleTenant, &Options{Header: "content-type"}) },
		`DerivedPrefix is " "`: func() { New(guard, SingleTenant, &Options{DerivedPrefix: " "}) },
		`holds "x y"`:          func() { New(guard, SingleTenant, &Options{StoreHeaders: []string{"x y"}}) },
		"holds set-cookie":     func() { New(guard, SingleTenant, &Options{StoreHeaders: []string{"set-cookie"}}) },
		"no Algorithm":         func() { New(guard, SingleTenant, &Options{Also: []Fingerprint{{Body: ByContent().Body}}}) },
		"Options.Policy": func() {
			New(guard, SingleTenant, &Options{Policy: &onceward.Policy{Lease: -1}})(next).ServeHTTP(httptest.NewRecorder(), keyed("/"))
		},
	} {
		func() {
			defer func() {
				said := fmt.Sprint(recover())
				check.True(t, strings.Contains(said, want), "want %q, got %q", want, said)
			}()
			wrong()
		}()
	}
}

func TestPrefer(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"":                          0,
		"wait=10":                   10 * time.Second,
		"Wait = 10":                 10 * time.Second,
		`respond-async, wait="7"`:   7 * time.Second,
		"wait=5;x=1, wait=9":        5 * time.Second,
		"wait":                      0,
		"wait=-1":                   0,
		"wait=99999999999999999999": 0,
		"awaits=3":                  0,
	} {
		check.Equal(t, preferredWait([]string{value}), want, "Prefer: %s", value)
	}
}
