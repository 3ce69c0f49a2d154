package intx

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/oncehttp"
)

var _ oncehttp.Transactions = (*Transactions[*tx])(nil)

// post sends the same request each time, to a handler that charges and then does what end says.
func (k *kit) post(end func(w http.ResponseWriter, r *http.Request)) *httptest.ResponseRecorder {
	k.Helper()
	opts := &oncehttp.Options{Transactions: k.tx, MaxOutcome: 1000}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x, ok := Tx[*tx](r.Context())
		if !ok {
			k.Error("no transaction in the request's context")
			return
		}
		check.NoError(k, x.Effect("charge"), "the effect")
		end(w, r)
	})
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/charges", strings.NewReader("{}"))
	r.Header.Set("Idempotency-Key", "order-1")
	oncehttp.New(k.g, oncehttp.SingleTenant, opts)(next).ServeHTTP(w, r)
	return w
}

// checkCharge says what is in the database about the request.
func (k *kit) checkCharge(effects int, state string) {
	k.Helper()
	check.Equal(k, k.d.ledger("charge"), effects, "effects")
	key := onceward.Key{Scope: "single-tenant", Operation: "POST /charges", Value: "order-1"}
	r, err := k.g.Lookup(context.Background(), key)
	check.NoError(k, err, "Lookup")
	check.Equal(k, r.State(), state, "state of the record")
}

func answer(status int, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		if status != http.StatusNoContent {
			_, _ = io.WriteString(w, "answer")
		}
	}
}

func (k *kit) neverServed(http.ResponseWriter, *http.Request) { k.Error("it ran again") }

func TestAnAnswerIsCommittedWithItsEffect(t *testing.T) {
	const control = "Idempotency-Control"
	for name, c := range map[string]struct {
		end     func(http.ResponseWriter, *http.Request)
		effects int
		state   string
	}{
		"201":              {answer(201), 1, "done"},
		"204":              {answer(204), 1, "done"},
		"303":              {answer(303, "Location", "/charges/1"), 1, "done"},
		"not to be stored": {answer(200, control, "no-store"), 1, "done"},
		"422":              {answer(422), 0, "done"},
		"404 no-store":     {answer(404, control, "no-store"), 0, "done"},
		"500 final":        {answer(500, control, "final"), 0, "done"},
		"401":              {answer(401), 0, "absent"},
		"429":              {answer(429), 0, "absent"},
		"500":              {answer(500), 0, "absent"},
		"503":              {answer(503), 0, "absent"},
		"200 retry":        {answer(200, control, "retry"), 0, "absent"},
		"200 in-doubt":     {answer(200, control, "in-doubt"), 0, "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, onceward.Policy{}, func(k *kit) {
				first := k.post(c.end)
				k.checkCharge(c.effects, c.state)
				if c.state == "absent" {
					check.Equal(k, k.post(answer(201)).Code, 201, "the next one runs")
					k.checkCharge(1, "done")
					return
				}
				again := k.post(k.neverServed)
				if strings.Contains(name, "no") && again.Code == http.StatusConflict {
					return // a tombstone
				}
				check.Equal(k, again.Code, first.Code, "status of the replay")
				check.Equal(k, again.Body.String(), first.Body.String(), "body of the replay")
				k.checkCharge(c.effects, c.state)
			})
		})
	}
}

// watched is a client that says when its answer arrives.
type watched struct {
	*httptest.ResponseRecorder

	arrives func()
}

func (w watched) WriteHeader(status int) {
	w.arrives()
	w.ResponseRecorder.WriteHeader(status)
}

func (w watched) Flush() { w.arrives() }

func TestNothingIsSaidBeforeTheCommit(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			x, _ := Tx[*tx](r.Context())
			check.NoError(k, x.Effect("charge"), "the effect")
			for range 3 {
				_, _ = io.WriteString(w, "answer ")
				check.NoError(k, http.NewResponseController(w).Flush(), "Flush")
			}
			_, _, err := http.NewResponseController(w).Hijack()
			check.True(k, err != nil && !errors.Is(err, http.ErrNotSupported), "Hijack is not refused by us: %v", err)
		})
		w := watched{httptest.NewRecorder(), func() { k.checkCharge(1, "done") }}
		r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/charges", nil)
		r.Header.Set("Idempotency-Key", "order-1")
		oncehttp.New(k.g, oncehttp.SingleTenant, &oncehttp.Options{Transactions: k.tx})(next).ServeHTTP(w, r)
		check.Equal(k, w.Body.String(), strings.Repeat("answer ", 3), "body")
	})
}

func TestAnAnswerThatIsTooLargeRollsBack(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		w := k.post(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/charges/1")
			for range 20 {
				_, err := io.WriteString(w, strings.Repeat("x", 100))
				check.NoError(k, err, "Write")
				check.NoError(k, http.NewResponseController(w).Flush(), "Flush")
			}
		})
		check.Equal(k, w.Code, http.StatusInternalServerError, "status")
		check.True(k, strings.Contains(w.Body.String(), "answer-too-large"), "body %q", w.Body)
		check.Equal(k, w.Header().Get("Location"), "", "a header of what did not happen")
		check.Equal(k, k.steps["released"], 1, "endings of the attempt")
		k.checkCharge(0, "absent")
	})
}

func TestAnAnswerWithoutACommit(t *testing.T) {
	for name, c := range map[string]struct {
		fault   fault
		status  int
		effects int
		state   string
	}{
		"conflict":     {conflict, 503, 0, "absent"},
		"rolled back":  {aborted, 503, 0, "absent"},
		"lost reply":   {lost, 201, 1, "done"},
		"lost request": {dropped, 503, 0, "absent"},
		"late":         {late, 201, 1, "done"},
		"unsettled":    {silent, 503, 0, "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, onceward.Policy{}, func(k *kit) {
				k.d.commit = func(int) fault { return c.fault }
				w := k.post(answer(201, "Location", "/charges/1"))
				check.Equal(k, w.Code, c.status, "status")
				if c.status == 503 {
					check.True(k, strings.Contains(w.Body.String(), "store-unavailable"), "body %q", w.Body)
					check.Equal(k, w.Header().Get("Retry-After"), "1", "Retry-After")
					check.Equal(k, w.Header().Get("Location"), "", "a header of what did not happen")
				}
				k.checkCharge(c.effects, c.state)
				k.d.commit = nil
				time.Sleep(2 * time.Hour)
				check.Equal(k, k.post(answer(201)).Code, 201, "the same again")
				k.checkCharge(1, "done")
			})
		})
	}
}

func TestAHandlerThatEndsByItself(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(a *onceward.Attempt) error
		status int
	}{
		"release":   {func(a *onceward.Attempt) error { return a.Release("nothing happened") }, 201},
		"doubt":     {func(a *onceward.Attempt) error { return a.Doubt("who knows") }, 201},
		"tombstone": {func(a *onceward.Attempt) error { return a.Tombstone(nil) }, 503},
	} {
		t.Run(name, func(t *testing.T) {
			with(t, onceward.Policy{}, func(k *kit) {
				w := k.post(func(w http.ResponseWriter, r *http.Request) {
					a, _ := onceward.FromContext(r.Context())
					_ = c.end(a)
					w.WriteHeader(http.StatusCreated)
				})
				check.Equal(k, w.Code, c.status, "status")
				k.checkCharge(0, "absent")
			})
		})
	}
}

func TestAHandlerThatPanics(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		func() {
			defer func() { check.Equal(k, recover(), any("boom"), "the panic goes on") }()
			k.post(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusCreated)
				panic("boom")
			})
		}()
		k.checkCharge(0, "absent")
	})
}

func TestADuplicateRequestIsToldAtOnce(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		w := k.post(func(w http.ResponseWriter, _ *http.Request) {
			check.Equal(k, k.post(k.neverServed).Code, http.StatusConflict, "status of a duplicate")
			w.WriteHeader(http.StatusCreated)
		})
		check.Equal(k, w.Code, http.StatusCreated, "status")
		k.checkCharge(1, "done")
	})
}

func TestAHandlerDoesNotRunWithoutItsTransaction(t *testing.T) {
	with(t, onceward.Policy{FailOpen: true}, func(k *kit) {
		k.d.begin = func() error { return errConnection }
		w := k.post(k.neverServed)
		check.Equal(k, w.Code, http.StatusServiceUnavailable, "status")
		k.d.begin = nil
	})
}
