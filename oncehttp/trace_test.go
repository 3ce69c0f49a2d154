package oncehttp

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// What is refused before the guard is asked is told to it: an operator sees why, and a client only the code.
func TestRefusalsAtTheDoorAreTraced(t *testing.T) {
	var last onceward.Trace
	guard, err := onceward.New(memstore.New(nil), &onceward.Options{
		Trace: func(_ context.Context, tr onceward.Trace) { last = tr },
	})
	check.NoError(t, err, "guard")
	outage := errors.New("the session database is down")
	down := func(*http.Request) (string, error) { return "", outage }
	nobody := func(*http.Request) (string, error) { return "", nil }
	for _, c := range []struct {
		name, code, key string
		scope           func(*http.Request) (string, error)
		cause           error
	}{
		{"no key", "key-missing", "", SingleTenant, nil},
		{"a wrong key", "key-invalid", "a b", SingleTenant, nil},
		{"the scope function fails", "scope-missing", "k", down, outage},
		{"the scope is empty", "scope-missing", "k", nobody, errEmptyScope},
		{"a large body", "body-too-large", "k", SingleTenant, nil},
	} {
		r := httptest.NewRequest(http.MethodPost, "/payments", strings.NewReader(strings.Repeat("x", 11)))
		if c.key != "" {
			r.Header.Set("Idempotency-Key", c.key)
		}
		w := httptest.NewRecorder()
		New(guard, c.scope, &Options{Keys: Required, MaxBody: 10})(http.NotFoundHandler()).ServeHTTP(w, r)
		check.True(t, strings.Contains(w.Body.String(), `"code":"`+c.code+`"`), "%s: %s", c.name, w.Body)
		check.True(t, !strings.Contains(w.Body.String(), "database"), "%s: internal text: %s", c.name, w.Body)
		check.Equal(t, last.Step, "refused", "%s: step", c.name)
		check.Equal(t, last.Reason, c.code, "%s: reason", c.name)
		check.True(t, errors.Is(last.Err, c.cause), "%s: error %v", c.name, last.Err)
	}
	check.NoError(t, guard.Close(context.Background()), "close")
}

func TestADoubtIsResolvedWithAnAnswer(t *testing.T) {
	guard := inMemory(t)
	runs := 0
	handler := func(w http.ResponseWriter, _ *http.Request) {
		runs++
		w.Header().Set("Idempotency-Control", "in-doubt")
		w.WriteHeader(http.StatusBadGateway)
	}
	w, _ := ask(t, guard, handler, nil)
	check.Equal(t, w.Code, http.StatusBadGateway, "first answer")
	w, _ = ask(t, guard, handler, nil)
	check.Equal(t, w.Code, http.StatusConflict, "a retry in doubt")

	header := http.Header{"Location": {"/payments/1"}, "Set-Cookie": {"secret"}, "Content-Type": {"text/plain"}}
	answer, err := EncodeAnswer(http.StatusCreated, header, []byte("it was paid"))
	check.NoError(t, err, "EncodeAnswer")
	r := driver.Resolution{Fence: 1, Outcome: &driver.Outcome{Kind: driver.Answer, Bytes: answer}}
	key := onceward.Key{Scope: "single-tenant", Operation: "POST /", Value: "k"}
	check.NoError(t, guard.Resolve(t.Context(), key, r), "Resolve")
	w, _ = ask(t, guard, handler, nil)
	check.Equal(t, w.Code, http.StatusCreated, "status after it")
	check.Equal(t, w.Body.String(), "it was paid", "body")
	check.Equal(t, w.Header().Get("Location"), "/payments/1", "Location")
	check.Equal(t, w.Header().Get("Set-Cookie"), "", "Set-Cookie")
	check.Equal(t, runs, 1, "runs")

	for _, status := range []int{0, 101, 204, 1000} {
		_, err := EncodeAnswer(status, nil, []byte("x"))
		check.True(t, err != nil, "%d with a body was accepted", status)
	}
}
