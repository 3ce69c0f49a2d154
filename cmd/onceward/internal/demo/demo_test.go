package demo

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/internal/check"
)

func pay(t *testing.T, api http.Handler, body, delay string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/payments", strings.NewReader(body))
	if delay != "" {
		r.Header.Set("X-Demo-Delay", delay)
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return w
}

func get(t *testing.T, api http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	api.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

const twelve = `{"amount":12,"to":"bob"}`

func TestEachRequestPays(t *testing.T) {
	api := New()
	check.Equal(t, get(t, api, "/api/payments").Body.String(), "[]\n", "the empty ledger")
	first := pay(t, api, twelve, "")
	check.Equal(t, first.Code, http.StatusCreated, "status")
	check.Equal(t, first.Body.String(), `{"id":"p-1","amount":12,"to":"bob"}`+"\n", "body")
	check.Equal(t, first.Header().Get("Location"), "/api/payments/p-1", "location")
	second := pay(t, api, twelve, "")
	check.Equal(t, second.Header().Get("Location"), "/api/payments/p-2", "location of the same payment again")
	check.Equal(t, get(t, api, "/api/payments/p-2").Body.String(), second.Body.String(), "what is there")
	check.Equal(t, get(t, api, "/api/payments/p-3").Code, http.StatusNotFound, "status of a payment that was not made")
	check.Equal(t, strings.Count(get(t, api, "/api/payments").Body.String(), `"id"`), 2, "payments")
}

func TestWrongPaymentsAreNotMade(t *testing.T) {
	api := New()
	for _, body := range []string{"", "12", `{"amount":12}`, `{"to":"bob"}`, `{"amount":-1,"to":"bob"}`} {
		check.Equal(t, pay(t, api, body, "").Code, http.StatusBadRequest, "status of %s", body)
	}
	check.Equal(t, pay(t, api, twelve, "soon").Code, http.StatusBadRequest, "status of a delay without a unit")
	check.Equal(t, get(t, api, "/api/payments").Body.String(), "[]\n", "the ledger")
}

func TestCrashComesAfterThePayment(t *testing.T) {
	server := httptest.NewServer(New())
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/api/payments", strings.NewReader(twelve))
	check.NoError(t, err, "request")
	r.Header.Set("X-Demo-Crash", "after")
	response, err := server.Client().Do(r)
	if err == nil {
		_ = response.Body.Close()
	}
	check.True(t, err != nil, "there is an answer")
	check.Equal(t, strings.Count(get(t, server.Config.Handler, "/api/payments").Body.String(), `"id"`), 1, "payments")
}

func TestDelayIsHonouredAndBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := New()
		begun := time.Now()
		var both sync.WaitGroup
		both.Go(func() {
			pay(t, api, twelve, "3s")
			check.Equal(t, time.Since(begun), 3*time.Second, "a payment with a delay of 3s took")
		})
		both.Go(func() {
			pay(t, api, twelve, "1h")
			check.Equal(t, time.Since(begun), maxDelay, "a payment with a delay of 1h took")
		})
		both.Wait()
	})
}
