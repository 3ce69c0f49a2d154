package main

import (
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/onceward/onceward"
	"github.com/onceward/onceward/examples/shop"
	"github.com/onceward/onceward/examples/shop/shoptest"
)

func TestPayments(t *testing.T) {
	shoptest.Run(t, func(guard *onceward.Guard, ledger *shop.Ledger) http.Handler { return serve(t, routes(guard, ledger)) })
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
