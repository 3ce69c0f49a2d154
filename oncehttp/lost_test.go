package oncehttp

import (
	"context"
	"io"
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

// An operator decided while the handler ran: its own answer must not be given.
func TestLostWhileRunning(t *testing.T) {
	for _, c := range []struct {
		name, control string
		flush, answer bool
		want          string
	}{
		{name: "stored instead", answer: true, want: "instead"},
		{name: "nothing stored", want: `"code":"in-doubt"`},
		{name: "released", control: "retry", answer: true, want: "instead"},
		{name: "flushed", flush: true, want: "aborted"},
	} {
		var guard *onceward.Guard
		next := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Own", "secret")
			w.Header().Set("Idempotency-Control", c.control)
			_, _ = io.WriteString(w, "own")
			if c.flush {
				w.(http.Flusher).Flush()
			}
			resolve(t, guard, c.answer)
		}
		guard, err := onceward.New(memstore.New(nil), nil)
		check.NoError(t, err, "guard")
		w := httptest.NewRecorder()
		w.Header().Set("X-Outer", "1")
		func() {
			defer func() {
				if recover() == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so, too
					w.Body.Reset()
					w.Body.WriteString("aborted")
				}
			}()
			New(guard, SingleTenant, nil)(http.HandlerFunc(next)).ServeHTTP(w, keyed("/"))
		}()
		check.True(t, strings.Contains(w.Body.String(), c.want), "%s: %s", c.name, w.Body)
		if !c.flush {
			check.Equal(t, w.Header().Get("X-Own"), "", "%s: a header of the lost answer", c.name)
		}
		check.Equal(t, w.Header().Get("X-Outer"), "1", "%s: a header that was there before", c.name)
		check.NoError(t, guard.Close(context.Background()), "close")
	}
}

// resolve takes the key of a running attempt away.
func resolve(t *testing.T, guard *onceward.Guard, answer bool) {
	t.Helper()
	r := driver.Resolution{Fence: 1, Force: true}
	if answer {
		r.Outcome = &driver.Outcome{Kind: driver.Answer, Retain: time.Hour, Bytes: seal(answerOf("instead"))}
	}
	key := onceward.Key{Scope: "single-tenant", Operation: "POST /", Value: "k"}
	check.NoError(t, guard.Resolve(t.Context(), key, r), "resolve")
}

func answerOf(body string) answer { return answer{status: 200, body: []byte(body)} }
