package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

// These tests hold what the README says does not work. One that fails is good news.

func guarding(t *testing.T) (*onceward.Guard, func(http.Handler) http.Handler) {
	t.Helper()
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	return guard, oncehttp.New(guard, oncehttp.SingleTenant, nil)
}

func post(app http.Handler, host, path string, keys ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
	r.Host = host
	r.Header["Idempotency-Key"] = keys
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	return w
}

// adaptor.HTTPMiddleware calls fiber's handler after once has ended: what is stored is an empty answer.
func TestHTTPMiddlewareDoesNotGuard(t *testing.T) {
	_, once := guarding(t)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Post("/", adaptor.HTTPMiddleware(once), func(c *fiber.Ctx) error { return c.Status(http.StatusCreated).SendString("paid") })
	server := serve(t, app)
	first, retry := post(server, "a.example", "/", "k"), post(server, "a.example", "/", "k")
	if first.Body.String() != "paid" || retry.Code != http.StatusOK || retry.Body.Len() != 0 {
		t.Errorf("first %d %q, retry %d %q", first.Code, first.Body, retry.Code, retry.Body)
	}
}

// A header that is set after a flush would be too late, if the flush had sent anything.
func TestAdaptorNeitherStreamsNorHijacks(t *testing.T) {
	_, once := guarding(t)
	var hijack error
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Post("/", adaptor.HTTPHandler(once(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		_, _, hijack = control.Hijack()
		_, _ = io.WriteString(w, "one ")
		_ = control.Flush()
		w.Header().Set("X-Late", "true")
		_, _ = io.WriteString(w, "two")
	}))))
	got := post(serve(t, app), "a.example", "/", "k")
	if !errors.Is(hijack, http.ErrNotSupported) || got.Header().Get("X-Late") != "true" || got.Body.String() != "one two" {
		t.Errorf("hijack: %v; answer: %v %q", hijack, got.Header(), got.Body)
	}
}

// The adaptor keeps the last of several fields, so that a repeated key is not refused.
func TestAdaptorHidesRepeatedKeys(t *testing.T) {
	_, once := guarding(t)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Post("/", adaptor.HTTPHandler(once(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))))
	if got := post(serve(t, app), "a.example", "/", "one", "two"); got.Code != http.StatusOK {
		t.Errorf("answer: %d %s", got.Code, got.Body)
	}
}

// This is what owned is for: without it the label is the host of a later request.
func TestOwnedKeepsLabels(t *testing.T) {
	guard, once := guarding(t)
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Post("/:any", adaptor.HTTPHandler(owned(once(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))))
	server := serve(t, app)
	post(server, "first.example", "/a", "k")
	for range 20 {
		post(server, "later.example", "/b", "k")
	}
	record, err := guard.Lookup(t.Context(), onceward.Key{Scope: "single-tenant", Operation: "POST /a", Value: "k"})
	if err != nil || record.Labels.Host != "first.example" {
		t.Errorf("labels: %+v, %v", record.Labels, err)
	}
}
