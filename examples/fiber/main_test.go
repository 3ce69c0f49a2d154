package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/onceward/onceward"
	"github.com/onceward/onceward/examples/shop"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncetest"
)

func request(body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/payments", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("alice", "secret")
	return r
}

func service(t *testing.T) (http.Handler, *shop.Ledger) {
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
	return serve(t, routes(guard, ledger)), ledger
}

// serve runs the app as a server of its own, so that fasthttp is tested too, and returns a proxy to it.
func serve(t *testing.T, app *fiber.App) http.Handler {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- app.Listener(listener) }()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: listener.Addr().String()})
	connections := new(http.Transport)
	proxy.Transport = connections
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { // mostly that the client has left
		w.WriteHeader(http.StatusBadGateway)
	}
	t.Cleanup(func() {
		connections.CloseIdleConnections()
		if err := errors.Join(app.Shutdown(), <-served); err != nil {
			t.Error(err)
		}
	})
	return proxy
}

func TestPaymentsMayBeRetried(t *testing.T) {
	handler, ledger := service(t)
	oncetest.Twice(t, handler, request(`{"amount": 1200}`), &oncetest.Options{Effects: ledger.Charges})
}

// A refusal is an answer: a retry gets the same one.
func TestRefusalsMayBeRetried(t *testing.T) {
	handler, ledger := service(t)
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
func TestStrangersGetNothing(t *testing.T) {
	handler, _ := service(t)
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
