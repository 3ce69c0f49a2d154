// Package shoptest is what each of the examples has to pass.
package shoptest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/examples/shop"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncetest"
)

// Routes makes the payments API.
type Routes func(guard *onceward.Guard, ledger *shop.Ledger) http.Handler

// Run sends payments in the ways in which clients send them.
func Run(t *testing.T, routes Routes) {
	t.Helper()
	t.Run("payments may be retried", func(t *testing.T) {
		handler, ledger := service(t, routes)
		oncetest.Twice(t, handler, request(`{"amount": 1200}`), &oncetest.Options{Effects: ledger.Charges})
	})
	t.Run("refusals may be retried", func(t *testing.T) { refusals(t, routes) })
	t.Run("strangers get nothing", func(t *testing.T) { strangers(t, routes) })
}

func request(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/payments", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("alice", "secret")
	return r
}

func service(t *testing.T, routes Routes) (http.Handler, *shop.Ledger) {
	t.Helper()
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := guard.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ledger := new(shop.Ledger)
	return routes(guard, ledger), ledger
}

// A refusal is an answer: a retry gets the same one.
func refusals(t *testing.T, routes Routes) {
	t.Helper()
	handler, ledger := service(t, routes)
	oncetest.Twice(t, handler, request(`{"amount": 0}`), nil)

	r := request(`{"amount": 0}`)
	r.Header.Set("Idempotency-Key", "refused")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusUnprocessableEntity || ledger.Charges() != 0 {
		t.Errorf("a payment of nothing is answered %d %s, with %d charges", w.Code, w.Body, ledger.Charges())
	}
}

// Authentication stands outside, so that a stranger who knows a key does not get to the stored answer.
func strangers(t *testing.T, routes Routes) {
	t.Helper()
	handler, _ := service(t, routes)
	for range 2 {
		r := request(`{"amount": 1200}`)
		r.Header.Set("Idempotency-Key", "known")
		handler.ServeHTTP(httptest.NewRecorder(), r)
	}
	r := request(`{"amount": 1200}`)
	r.Header.Del("Authorization")
	r.Header.Set("Idempotency-Key", "known")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "alice") {
		t.Errorf("a stranger is answered %d %s", w.Code, w.Body)
	}
}
