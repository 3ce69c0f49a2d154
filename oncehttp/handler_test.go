package oncehttp

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

func code(t *testing.T, r reply) string {
	t.Helper()
	var p struct{ Code, Type string }
	check.NoError(t, json.Unmarshal([]byte(r.body), &p), "problem in %q", r.body)
	check.Equal(t, r.Header.Get("Content-Type"), "application/problem+json", "Content-Type")
	check.True(t, strings.HasSuffix(p.Type, "problems.md#"+p.Code), "type %q of code %q", p.Type, p.Code)
	return p.Code
}

func TestReplay(t *testing.T) {
	s := newService(t, nil, nil)
	first := s.post(t, "/pay?b=1", `"k"`, `{"a":1}`)
	check.Equal(t, first.StatusCode, 201, "status")
	check.Equal(t, first.Header.Get("Idempotency-Key"), `"k"`, "the key, as sent")
	expires, err := http.ParseTime(first.Header.Get("Idempotency-Expires"))
	check.NoError(t, err, "Idempotency-Expires")
	check.True(t, time.Until(expires) > 23*time.Hour && time.Until(expires) <= 24*time.Hour, "expires %v", expires)

	again := s.post(t, "/pay?b=1", "k", `{"a":1}`)
	check.Equal(t, again.StatusCode, 201, "status of the replay")
	check.Equal(t, again.body, first.body, "body of the replay")
	check.Equal(t, again.Header.Get("Location"), "/pay/1", "Location of the replay")
	check.Equal(t, again.Header.Get("Idempotent-Replayed"), "true", "Idempotent-Replayed")
	check.Equal(t, code(t, s.post(t, "/pay?b=2", "k", `{"a":1}`)), "key-reused", "another query")
	check.Equal(t, code(t, s.post(t, "/pay?b=1", "k", `{"a":2}`)), "key-reused", "another body")
	check.Equal(t, s.runs.Load(), int64(1), "runs")
	check.Equal(t, s.post(t, "/refund?b=1", "k", `{"a":1}`).StatusCode, 201, "another path is another operation")
	check.Equal(t, s.runs.Load(), int64(2), "runs")
}

func TestWithoutKey(t *testing.T) {
	s := newService(t, nil, nil)
	for range 2 {
		unguarded := s.post(t, "/", "", "{}")
		check.Equal(t, unguarded.Header.Get("Cache-Control"), "", "an unguarded answer is left alone")
	}
	r := s.request(t, "/", "k", "{}")
	r.Method = http.MethodPut
	s.do(t, r)
	s.do(t, s.request(t, "/", "k", "{}")) // a POST with the same key has not run yet
	check.Equal(t, s.runs.Load(), int64(4), "runs")
	s.use(&Options{Keys: Required})
	check.Equal(t, code(t, s.post(t, "/", "", "{}")), "key-missing", "required")
	check.Equal(t, s.runs.Load(), int64(4), "runs")
}

func TestDerivedKeys(t *testing.T) {
	s := newService(t, nil, &Options{Keys: Derived})
	first := s.post(t, "/pay", "", `{"a":1,"b":2}`)
	check.Equal(t, first.Header.Get("Idempotency-Key-Derived"), "true", "Idempotency-Key-Derived")
	expires, err := http.ParseTime(first.Header.Get("Idempotency-Expires"))
	check.NoError(t, err, "Idempotency-Expires")
	check.True(t, time.Until(expires) <= 10*time.Minute, "kept until %v", expires)
	again := s.post(t, "/pay", "", `{"b":2, "a":1}`)
	check.Equal(t, again.Header.Get("Idempotent-Replayed"), "true", "the same by value")
	check.Equal(t, s.post(t, "/pay?x", "", `{"a":1,"b":2}`).Header.Get("Idempotent-Replayed"), "", "another query")
	check.Equal(t, s.post(t, "/pay", "", `{"a":1,"b":3}`).Header.Get("Idempotent-Replayed"), "", "another body")
	for _, body := range []string{"", "text", `{"a":1,"a":1}`} {
		check.Equal(t, code(t, s.post(t, "/pay", "", body)), "key-missing", "body %q", body)
	}
	sent := s.post(t, "/pay", "k", "text")
	check.Equal(t, sent.Header.Get("Idempotency-Key-Derived"), "", "a key that was sent")
	check.Equal(t, s.runs.Load(), int64(4), "runs")
}

// The rules by which an answer keeps or releases its key.
func TestClasses(t *testing.T) {
	type settings struct {
		status  int
		header  string // Name: value
		options Options
		onCrash func(*onceward.Policy)
	}
	rerun := func(p *onceward.Policy) { p.OnCrash = onceward.Rerun }
	classify := Options{Classify: func(status int, _ http.Header) Class {
		return map[int]Class{200: Released, 401: Final, 202: InDoubt, 203: NoStore, 204: 77}[status]
	}}
	for _, c := range []struct {
		settings
		state string
		retry string // "run", "replay" or a code
	}{
		{settings{status: 200}, "done", "replay"},
		{settings{status: 303}, "done", "replay"},
		{settings{status: 400}, "done", "replay"},
		{settings{status: 404}, "done", "replay"},
		{settings{status: 409}, "done", "replay"},
		{settings{status: 500}, "done", "replay"},
		{settings{status: 502, onCrash: rerun}, "absent", "run"},
		{settings{status: 503}, "done", "replay"},
		{settings{status: 503, header: "Retry-After: 1"}, "absent", "run"},
		{settings{status: 401}, "absent", "run"},
		{settings{status: 403}, "absent", "run"},
		{settings{status: 407}, "absent", "run"},
		{settings{status: 408}, "absent", "run"},
		{settings{status: 421}, "absent", "run"},
		{settings{status: 425}, "absent", "run"},
		{settings{status: 429}, "absent", "run"},
		{settings{status: 429, header: "Idempotency-Control: final"}, "done", "replay"},
		{settings{status: 200, header: "Idempotency-Control: retry"}, "absent", "run"},
		{settings{status: 200, header: "Idempotency-Control: In-Doubt"}, "in-doubt", "in-doubt"},
		{settings{status: 200, header: "Idempotency-Control: no-store"}, "done", "outcome-not-stored"},
		{settings{status: 200, header: "Idempotency-Control: nonsense"}, "done", "replay"},
		{settings{status: 200, options: classify}, "absent", "run"},
		{settings{status: 401, options: classify}, "done", "replay"},
		{settings{status: 202, options: classify}, "in-doubt", "in-doubt"},
		{settings{status: 203, options: classify}, "done", "outcome-not-stored"},
		{settings{status: 204, options: classify}, "done", "replay"},
		{settings{status: 200, options: classify, header: "Idempotency-Control: final"}, "done", "replay"},
	} {
		if c.onCrash != nil {
			c.options.Policy = &onceward.Policy{}
			c.onCrash(c.options.Policy)
		}
		s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
			if name, value, ok := strings.Cut(c.header, ": "); ok {
				w.Header().Set(name, value)
			}
			w.WriteHeader(c.status)
		}, &c.options)
		first := s.post(t, "/", "k", "{}")
		check.Equal(t, first.StatusCode, c.status, "%d %s: the first caller's answer", c.status, c.header)
		check.Equal(t, first.Header.Get("Idempotency-Control"), "", "Idempotency-Control reached the client")
		check.Equal(t, first.Header.Get("Idempotency-Expires") != "", c.retry == "replay", "%d %s: expires", c.status, c.header)
		check.Equal(t, s.state(t, "/", "k"), c.state, "%d %s: state", c.status, c.header)
		retry, runs := s.post(t, "/", "k", "{}"), int64(1)
		switch c.retry {
		case "run":
			runs = 2
		case "replay":
			check.Equal(t, retry.Header.Get("Idempotent-Replayed"), "true", "%d %s: replayed", c.status, c.header)
			check.Equal(t, retry.StatusCode, c.status, "status of the replay")
		default:
			check.Equal(t, code(t, retry), c.retry, "%d %s: retry", c.status, c.header)
		}
		check.Equal(t, s.runs.Load(), runs, "%d %s: runs", c.status, c.header)
	}
}

func TestHandlersThatDoNotReturn(t *testing.T) {
	ends := map[string]func(){
		"panic":  func() { panic(http.ErrAbortHandler) },
		"goexit": runtime.Goexit,
	}
	for name, end := range ends {
		for _, flush := range []bool{false, true} {
			guard, err := onceward.New(memstore.New(nil), nil)
			check.NoError(t, err, "guard")
			next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "secret")
				if flush {
					w.(http.Flusher).Flush()
				}
				end()
			})
			hold := New(guard, SingleTenant, nil)(next)
			rerun := New(guard, SingleTenant, &Options{Policy: &onceward.Policy{OnCrash: onceward.Rerun}})(next)
			recovered := abandoned(hold, "/hold")
			check.Equal(t, recovered, map[string]any{"panic": http.ErrAbortHandler}[name], "%s: what goes on", name)
			w := httptest.NewRecorder()
			hold.ServeHTTP(w, keyed("/hold"))
			want := `"code":"handler-failed"`
			if flush {
				want = `"outcome":{"reason":"handler-failed","status":200`
			}
			check.True(t, strings.Contains(w.Body.String(), want), "%s, flush %v: %s", name, flush, w.Body)
			abandoned(rerun, "/rerun")
			record, err := guard.Lookup(t.Context(), onceward.Key{Scope: "single-tenant", Operation: "POST /rerun", Value: "k"})
			check.NoError(t, err, "lookup")
			check.Equal(t, record.State(), "absent", "%s: the key of a handler that may run again", name)
			check.NoError(t, guard.Close(context.Background()), "close")
		}
	}
}

func keyed(path string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
	r.Header.Set("Idempotency-Key", "k")
	return r
}

// abandoned serves a request in a goroutine of its own and returns what it panicked with.
func abandoned(h http.Handler, path string) any {
	done := make(chan any, 1)
	go func() {
		defer func() { done <- recover() }()
		h.ServeHTTP(httptest.NewRecorder(), keyed(path))
	}()
	return <-done
}

func TestConcurrentDuplicates(t *testing.T) {
	started, end := make(chan struct{}), make(chan struct{})
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		close(started)
		<-end
		_, _ = io.WriteString(w, "one")
	}, nil)
	first := make(chan reply)
	go func() { first <- s.post(t, "/", "k", "{}") }()
	<-started
	duplicate := s.post(t, "/", "k", "{}")
	check.Equal(t, code(t, duplicate), "in-progress", "a duplicate")
	check.Equal(t, duplicate.Header.Get("Retry-After"), "1", "Retry-After")
	check.Equal(t, code(t, s.post(t, "/", "k", "[]")), "key-reused", "another request while the first runs")
	patient := make(chan reply)
	go func() {
		r := s.request(t, "/", "k", "{}")
		r.Header.Set("Prefer", "respond-async, wait=20")
		patient <- s.do(t, r)
	}()
	close(end)
	check.Equal(t, (<-first).body, "one", "first")
	waited := <-patient
	check.Equal(t, waited.body, "one", "a duplicate that waited, or came later")
	check.Equal(t, waited.Header.Get("Preference-Applied"), "wait=20", "Preference-Applied")
	check.Equal(t, s.runs.Load(), int64(1), "runs")
}

func TestWhatTheHandlerSees(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		a, ok := onceward.FromContext(r.Context())
		check.True(t, ok && a.Number() == 1, "no attempt in the context")
		check.True(t, r.Context().Value(http.ServerContextKey) != nil, "the server is gone from the context")
		for _, name := range []string{"Idempotency-Attempt", "Idempotency-Fence", "Idempotency-Control", "Idempotent-Replayed"} {
			check.Equal(t, r.Header.Get(name), "", "%s, from the client", name)
		}
		check.Equal(t, r.Header.Get("Idempotency-Key"), "k", "Idempotency-Key")
		body, err := io.ReadAll(r.Body)
		check.NoError(t, err, "body")
		check.Equal(t, r.ContentLength, int64(len(body)), "ContentLength")
		check.Equal(t, len(r.TransferEncoding), 0, "transfer encodings")
		_, _ = w.Write(body)
	}, &Options{SpoolMemory: 1})
	for _, size := range []int{1, 4 << 10, 5 << 10, 1 << 20} {
		body := strings.Repeat("x", size)
		r := s.request(t, "/"+http.StatusText(size)+strings.Repeat("x", size%97), "k", "")
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1 // chunked
		for _, name := range []string{"Idempotency-Attempt", "Idempotency-Fence", "Idempotency-Control", "Idempotent-Replayed"} {
			r.Header.Set(name, "9")
		}
		check.Equal(t, s.do(t, r).body == body, true, "a body of %d bytes", size)
	}
}

func TestLateRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		guard, err := onceward.New(memstore.New(nil), nil)
		check.NoError(t, err, "guard")
		defer guard.Close(context.Background())
		runs := 0
		h := New(guard, SingleTenant, &Options{KeyMaxAge: 23 * time.Hour})(http.HandlerFunc(
			func(http.ResponseWriter, *http.Request) { runs++ }))
		key, sent := onceward.NewKey("order-"), time.Now().UTC().Format(http.TimeFormat)
		ask := func(key, sent string) string {
			r, w := keyed("/"), httptest.NewRecorder()
			r.Header.Set("Idempotency-Key", key)
			r.Header.Set("Repeatability-First-Sent", sent)
			h.ServeHTTP(w, r)
			if w.Code == 200 {
				return w.Header().Get("Idempotent-Replayed")
			}
			return w.Body.String()
		}
		other := onceward.NewKey("")
		check.Equal(t, ask(key, ""), "", "first")
		time.Sleep(23*time.Hour + time.Minute)
		check.Equal(t, ask(key, ""), "true", "late, with an answer")
		check.True(t, strings.Contains(ask(other, ""), "key-expired"), "late, without an answer")
		check.True(t, strings.Contains(ask("plain", sent), "key-expired"), "late, by the header")
		check.Equal(t, ask("plain", ""), "", "a key without an age")
		time.Sleep(time.Hour)
		check.True(t, strings.Contains(ask(key, ""), "key-expired"), "after the retention")
		check.Equal(t, runs, 2, "runs")
	})
}
