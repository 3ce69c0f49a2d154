package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/idempotency"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

// servers are what requests are sent to; to is the server that a proxy passes them on to, or the Redis that one uses.
var servers = map[string]func(l net.Listener, to string) error{
	"net/http":          func(l net.Listener, _ string) error { return serveHTTP(l, http.HandlerFunc(pay)) },
	"net/http, hashing": func(l net.Listener, _ string) error { return serveHTTP(l, hashing(http.HandlerFunc(pay))) },
	"oncehttp":          func(l net.Listener, _ string) error { return serveOncehttp(l) },
	"naive on Redis":    serveNaive,
	"oncehttp on Redis": serveOncehttpOnRedis,
	"fiber":             func(l net.Listener, _ string) error { return serveFiber(l) },
	"fiber idempotency": func(l net.Listener, _ string) error {
		return serveFiber(l, idempotency.New(idempotency.Config{KeyHeader: "Idempotency-Key"}))
	},
	"ReverseProxy":        func(l net.Listener, to string) error { return serveProxy(l, to, standardTransport()) },
	"ReverseProxy, tuned": func(l net.Listener, to string) error { return serveProxy(l, to, tunedTransport()) },
}

// runs counts what the handlers did, so that a replay that was none is found out.
var runs atomic.Uint64

var receipt = append(bytes.Repeat([]byte(" "), 198), "{}"...)

// pay is the cheapest handler that reads its request and answers with 200 bytes.
func pay(w http.ResponseWriter, r *http.Request) {
	runs.Add(1)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		panic(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", "/payments/1")
	w.WriteHeader(http.StatusCreated)
	_, _ = w.Write(receipt)
}

// hashing is the work that a comparison of requests cannot do without: the body read and hashed before the handler runs.
func hashing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			panic(err)
		}
		if sum := sha256.Sum256(body); sum == [32]byte{} {
			panic("nothing hashed")
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next.ServeHTTP(w, r)
	})
}

func serveHTTP(l net.Listener, h http.Handler) error {
	return (&http.Server{Handler: h}).Serve(l) //nolint:gosec // no timeouts: only this program connects
}

func serveOncehttp(l net.Listener) error {
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		return err
	}
	return serveHTTP(l, oncehttp.New(guard, oncehttp.SingleTenant, nil)(http.HandlerFunc(pay)))
}

func serveFiber(l net.Listener, middleware ...fiber.Handler) error {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	for _, m := range middleware {
		app.Use(m)
	}
	app.Post("/payments", func(c *fiber.Ctx) error {
		runs.Add(1)
		c.Set("Content-Type", "application/json")
		c.Set("Location", "/payments/1")
		return c.Status(http.StatusCreated).Send(receipt)
	})
	return app.Listener(l)
}

// serveProxy is the least that passes requests on: what an HTTP proxy in Go begins with.
func serveProxy(l net.Listener, to string, transport *http.Transport) error {
	target := &url.URL{Scheme: "http", Host: to}
	return serveHTTP(l, &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
	})
}

func standardTransport() *http.Transport {
	return http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // net/http says so
}

// tunedTransport keeps a connection for each client. The standard one keeps two and opens the others anew for each request.
func tunedTransport() *http.Transport {
	t := standardTransport()
	t.MaxIdleConns, t.MaxIdleConnsPerHost = 1024, 1024
	return t
}

// serve is a row's server, in a process of its own so that each has its own garbage. It says where it listens; then it
// answers each line with what it has used so far, the first one after a collection; and it ends with its input.
func serve(name, to, profile string) error {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	start, ok := servers[name]
	if !ok {
		return fmt.Errorf("no server is named %q", name)
	}
	failed := make(chan error, 1)
	go func() { failed <- start(listener, to) }()
	fmt.Fprintln(os.Stdout, listener.Addr())

	stop := func() error { return nil }
	lines := bufio.NewScanner(os.Stdin)
	for first := true; lines.Scan(); first = false {
		if first {
			runtime.GC()
			if stop, err = startProfile(profile); err != nil {
				return err
			}
		}
		if err := json.NewEncoder(os.Stdout).Encode(used()); err != nil {
			return err
		}
	}
	select {
	case err := <-failed:
		return err
	default:
		return stop()
	}
}
