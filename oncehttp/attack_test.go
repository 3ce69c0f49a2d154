package oncehttp

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// ask sends one request with a key through a guard of its own, without a network.
func ask(
	t *testing.T, guard *onceward.Guard, next http.HandlerFunc, edit func(*http.Request),
) (w *httptest.ResponseRecorder, panicked any) {
	t.Helper()
	w = httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
	r.Header.Set("Idempotency-Key", "k")
	if edit != nil {
		edit(r)
	}
	defer func() { panicked = recover() }()
	New(guard, SingleTenant, nil)(next).ServeHTTP(w, r)
	return w, nil
}

func inMemory(t *testing.T) *onceward.Guard {
	t.Helper()
	g, err := onceward.New(memstore.New(nil), nil)
	check.NoError(t, err, "guard")
	t.Cleanup(func() { check.NoError(t, g.Close(context.Background()), "closing the guard") })
	return g
}

func TestAHandlerMayEndItsAttempt(t *testing.T) {
	for name, c := range map[string]struct {
		end   func(a *onceward.Attempt) error
		retry int
	}{
		"release":   {func(a *onceward.Attempt) error { return a.Release("out of stock") }, 418},
		"doubt":     {func(a *onceward.Attempt) error { return a.Doubt("the bank broke off") }, 409},
		"tombstone": {func(a *onceward.Attempt) error { return a.Tombstone(nil) }, 409},
	} {
		for _, flush := range []bool{false, true} {
			guard := inMemory(t)
			handler := func(w http.ResponseWriter, r *http.Request) {
				a, _ := onceward.FromContext(r.Context())
				check.NoError(t, c.end(a), "%s", name)
				check.NoError(t, r.Context().Err(), "the context of a handler that goes on")
				w.WriteHeader(http.StatusTeapot)
				_, _ = io.WriteString(w, "mine")
				if flush {
					w.(http.Flusher).Flush()
				}
			}
			w, panicked := ask(t, guard, handler, nil)
			check.True(t, panicked == nil, "%s, flushed %v: panic %v", name, flush, panicked)
			check.Equal(t, w.Code, http.StatusTeapot, "%s, flushed %v: status", name, flush)
			check.Equal(t, w.Body.String(), "mine", "%s, flushed %v: body", name, flush)
			check.Equal(t, w.Header().Get("Idempotency-Expires"), "", "%s, flushed %v: it is not stored", name, flush)
			w, _ = ask(t, guard, handler, nil)
			check.Equal(t, w.Code, c.retry, "%s, flushed %v: status of a retry", name, flush)
		}
	}
}

func TestAHijackerKeepsItsContextAndLosesItAtTheEnd(t *testing.T) {
	ended := make(chan context.Context, 1)
	s := newService(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		check.NoError(t, err, "Hijack")
		defer conn.Close()
		body := "alive"
		if err := r.Context().Err(); err != nil {
			body = err.Error()
		}
		ended <- r.Context()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+body)
	}, nil)
	check.Equal(t, s.post(t, "/", "k", "{}").body, "alive", "context after Hijack")
	<-(<-ended).Done()
}

func TestAPanicWhileAGoroutineOfTheHandlerWrites(t *testing.T) {
	var all sync.WaitGroup
	for range 50 {
		_, panicked := ask(t, inMemory(t), func(w http.ResponseWriter, _ *http.Request) {
			w.(http.Flusher).Flush()
			begun := make(chan struct{})
			all.Go(func() {
				close(begun)
				for range 50 {
					if _, err := io.WriteString(w, "more"); err != nil {
						return
					}
				}
			})
			<-begun
			panic("boom")
		}, nil)
		check.True(t, panicked != nil, "no panic")
	}
	all.Wait()
}

// The first client got less than the handler wrote, because net/http holds it to its Content-Length.
func TestMoreThanTheContentLengthIsNotReplayed(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		_, _ = io.WriteString(w, "abc")
		w.(http.Flusher).Flush()
		_, _ = io.WriteString(w, "de")
	}, nil)
	check.Equal(t, s.post(t, "/", "k", "{}").body, "abc", "first answer")
	check.Equal(t, s.post(t, "/", "k", "{}").StatusCode, http.StatusConflict, "status of a retry")
}

func TestWhatALayerOutsideSaysIsItsOwn(t *testing.T) {
	h := New(inMemory(t), SingleTenant, nil)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</terms>")
		w.WriteHeader(http.StatusCreated)
	}))
	for _, origin := range []string{"https://a.example", "https://b.example"} {
		w := httptest.NewRecorder()
		w.Header().Set("Access-Control-Allow-Origin", origin)
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header.Set("Idempotency-Key", "k")
		h.ServeHTTP(w, r)
		check.Equal(t, w.Header().Get("Access-Control-Allow-Origin"), origin, "the origin that the layer outside allows")
		check.Equal(t, w.Header().Get("Link"), "</terms>", "the handler's own field")
	}
}

func TestAnUnguardedHandlerDoesNotBelieveAClientsFence(t *testing.T) {
	_, _ = ask(t, inMemory(t), func(_ http.ResponseWriter, r *http.Request) {
		check.Equal(t, r.Header.Get("Idempotency-Fence"), "", "Idempotency-Fence")
		check.Equal(t, r.Header.Get("X-Other"), "kept", "another field")
	}, func(r *http.Request) {
		r.Header = http.Header{"Idempotency-Fence": {"99"}, "X-Other": {"kept"}}
	})
}

func TestASecretTrailerIsNotReplayedHoweverItIsWritten(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "x")
		w.Header()[http.TrailerPrefix+"set-cookie"] = []string{"session=secret"}
	}, nil)
	s.post(t, "/", "k", "{}")
	check.Equal(t, s.post(t, "/", "k", "{}").Trailer.Get("Set-Cookie"), "", "trailer of the replay")
}

func TestALateRetryOfADerivedKeyDoesNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, first := 0, time.Now()
		opts := &Options{Keys: Derived, KeyMaxAge: 12 * time.Hour}
		h := New(inMemory(t), SingleTenant, opts)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runs++ }))
		for range 2 {
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"a":1}`))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Repeatability-First-Sent", first.UTC().Format(http.TimeFormat))
			h.ServeHTTP(httptest.NewRecorder(), r)
			time.Sleep(time.Hour)
		}
		check.Equal(t, runs, 1, "runs")
	})
}

// Their paths are empty, so that two different targets would have been one operation.
func TestATargetWithoutAPathIsRefused(t *testing.T) {
	ran := func(http.ResponseWriter, *http.Request) { t.Error("it ran") }
	for _, target := range []string{"x:http://h/orders", "x:http://h/refunds", "*"} {
		w, _ := ask(t, inMemory(t), ran, func(r *http.Request) {
			u, err := url.ParseRequestURI(target)
			check.NoError(t, err, "%s", target)
			r.URL = u
		})
		check.Equal(t, w.Code, http.StatusBadRequest, "status for %s", target)
	}
}
