package access

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

// lines is where a log goes, line by line.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	each chan map[string]any
}

func (l *lines) Write(p []byte) (int, error) {
	line := map[string]any{}
	if err := json.Unmarshal(p, &line); err != nil {
		return 0, err
	}
	l.mu.Lock()
	l.text.Write(p)
	l.mu.Unlock()
	l.each <- line
	return len(p), nil
}

// next is the next line; it comes after the answer.
func (l *lines) next(t *testing.T) map[string]any {
	t.Helper()
	select {
	case line := <-l.each:
		check.Equal(t, line["msg"], any("request"), "message")
		return line
	case <-time.After(10 * time.Second):
		t.Fatal("there is no line in the log")
		return nil
	}
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// service is a guarded handler on a port, and its log.
type service struct {
	*httptest.Server
	*lines
}

func serve(t *testing.T, handle http.HandlerFunc) *service {
	t.Helper()
	out := &lines{each: make(chan map[string]any, 16)}
	guard, err := onceward.New(memstore.New(nil), &onceward.Options{Trace: Trace})
	check.NoError(t, err, "guard")
	once := oncehttp.New(guard, oncehttp.SingleTenant, nil)
	server := httptest.NewUnstartedServer(Log(once(handle), slog.New(slog.NewJSONHandler(out, nil))))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	server.Start()
	t.Cleanup(func() {
		server.Close()
		check.NoError(t, guard.Close(context.Background()), "closing the guard")
	})
	return &service{server, out}
}

// send returns the status, and an error if the answer broke off.
func (s *service) send(t *testing.T, method, target, key, body string) (int, error) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+target, strings.NewReader(body))
	check.NoError(t, err, "request")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	r.Header.Set("Authorization", "Bearer canary-token")
	res, err := s.Client().Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// logged sends a request and returns its line, without the time and what took time.
func (s *service) logged(t *testing.T, method, target, key, body string) map[string]any {
	t.Helper()
	_, err := s.send(t, method, target, key, body)
	check.NoError(t, err, "%s %s", method, target)
	line := s.next(t)
	took, ok := line["took"].(float64)
	check.True(t, ok && took > 0, "took %v", line["took"])
	for _, name := range []string{"time", "level", "msg", "took"} {
		delete(line, name)
	}
	return line
}

func TestEachRequestIsALine(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "made")
	})
	id := onceward.Key{Scope: "single-tenant", Operation: "POST /orders", Value: "k"}.ID().Short()
	for _, c := range []struct {
		what, method, target, key, body string
		want                            map[string]any
	}{
		{"first", "POST", "/orders", "k", "x", map[string]any{"status": 201.0, "bytes": 4.0, "step": "acquired", "id": id}},
		{"replay", "POST", "/orders", "k", "x", map[string]any{"status": 201.0, "bytes": 4.0, "step": "replayed", "id": id}},
		{"reused", "POST", "/orders", "k", "y", map[string]any{"status": 422.0, "step": "refused", "code": "key-reused", "id": id}},
		{"no key", "POST", "/orders", "", "x", map[string]any{"status": 201.0, "bytes": 4.0, "step": "unguarded"}},
		{"bad key", "POST", "/orders", "a b", "x", map[string]any{"status": 400.0, "step": "refused", "code": "key-invalid"}},
		{"not guarded", "GET", "/orders", "", "", map[string]any{"status": 201.0, "bytes": 4.0, "step": "unguarded"}},
	} {
		c.want["method"], c.want["path"] = c.method, c.target
		got := s.logged(t, c.method, c.target, c.key, c.body)
		if _, refusal := c.want["code"]; refusal {
			check.True(t, got["bytes"].(float64) > 100, "%s: a problem of %v bytes", c.what, got["bytes"])
			c.want["bytes"] = got["bytes"]
		}
		check.Equal(t, got, c.want, "%s", c.what)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Canary", "canary-header")
		_, _ = io.WriteString(w, "canary-answer")
	})
	for _, key := range []string{"canary-key", "canary key", "", "canary-key"} {
		_ = s.logged(t, "POST", "/orders?q=canary-query", key, "canary-body")
		_ = s.logged(t, "POST", "/orders?q=canary-query", key, "canary-other")
	}
	check.True(t, !strings.Contains(s.all(), "canary"), "a canary is in the log:\n%s", s.all())
}

func TestWhatClientsChooseIsEscapedAndBounded(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	line := s.logged(t, "GET", "/a%0Ab%22%C3%A9", "", "")
	check.Equal(t, line["path"], any("/a%0Ab%22%C3%A9"), "path")
	line = s.logged(t, strings.Repeat("M", 1000), "/"+strings.Repeat("p", 10_000), "", "")
	check.Equal(t, line["path"], any("/"+strings.Repeat("p", 255)+"…"), "a long path")
	check.Equal(t, line["method"], any(strings.Repeat("M", 256)+"…"), "a long method")
}

func TestAbortedAnswersAreLogged(t *testing.T) {
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		status float64
	}{
		"before the answer": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 0},
		"within it": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, 202},
		"by another panic": {func(http.ResponseWriter, *http.Request) { panic("boom") }, 0},
	} {
		s := serve(t, c.handle)
		for key, step := range map[string]string{"": "unguarded", "k": "acquired"} {
			_, err := s.send(t, "POST", "/orders", key, "x")
			check.True(t, err != nil, "%s: the client got an answer: the panic did not go on", name)
			line := s.next(t)
			check.Equal(t, line["aborted"], any(true), "%s: aborted", name)
			check.Equal(t, line["step"], any(step), "%s: step", name)
			check.Equal(t, line["status"], any(c.status), "%s: status", name)
		}
	}
}

// Nobody but a panic of the same value may tell that there is a log.
func TestThePanicIsTheSame(t *testing.T) {
	boom := errors.New("boom")
	l := Log(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(boom) }), slog.New(slog.NewTextHandler(discard{}, nil)))
	defer func() { check.Equal(t, recover(), any(boom), "recovered") }()
	l.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
}

func TestALevelThatIsOffCostsNothing(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, wrapped := w.(*writer); wrapped {
			t.Error("the answer is counted for nobody")
		}
	})
	l := Log(handler, slog.New(slog.NewTextHandler(discard{}, &slog.HandlerOptions{Level: slog.LevelWarn})))
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/orders", nil)
	check.Equal(t, testing.AllocsPerRun(100, func() { l.ServeHTTP(w, r) }), 0.0, "allocations")
}

// BenchmarkLog is what a line costs, without the handler behind it and without writing it anywhere.
func BenchmarkLog(b *testing.B) {
	for name, level := range map[string]slog.Level{"info": slog.LevelInfo, "off": slog.LevelWarn} {
		b.Run(name, func(b *testing.B) {
			var l *Logger
			made := []byte("made")
			key := onceward.Key{Scope: "s", Operation: "o", Value: "v"}
			traced := onceward.Trace{Step: "acquired", ID: key.ID(), Attempt: 1, Fence: 1}
			l = Log(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				Trace(r.Context(), traced)
				_, _ = w.Write(made)
			}), slog.New(slog.NewTextHandler(discard{}, &slog.HandlerOptions{Level: level})))
			w, r := discard{}, httptest.NewRequest(http.MethodPost, "/orders", nil)
			b.ReportAllocs()
			for b.Loop() {
				l.ServeHTTP(w, r)
			}
		})
	}
}

// discard is an answer, or a log, that goes nowhere.
type discard struct{}

func (discard) Header() http.Header         { return nil }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
