// Command fiber is a payments API on fiber, whose adaptor runs handlers of net/http on fasthttp.
package main

import (
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/gofiber/fiber/v2/middleware/basicauth"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/onceward/onceward"
	"github.com/onceward/onceward/examples/shop"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

func routes(guard *onceward.Guard, ledger *shop.Ledger) *fiber.App {
	once := oncehttp.New(guard, customer, &oncehttp.Options{Keys: oncehttp.Required})
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Use(recover.New()) // fasthttp recovers nothing: a panic would end the process
	app.Post("/payments", authenticate(), adaptor.HTTPHandler(owned(once(pay(ledger)))))
	return app
}

// owned gives once strings of its own. Those of the adaptor's request lie in memory that fasthttp uses for the next one,
// and a store keeps the names of host and path for people to find the key by.
func owned(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Method, r.Host, r.RequestURI = strings.Clone(r.Method), strings.Clone(r.Host), strings.Clone(r.RequestURI)
		r.URL, _ = url.ParseRequestURI(r.RequestURI) // the adaptor has done it before
		header := make(http.Header, len(r.Header))
		for name, values := range r.Header {
			header.Set(strings.Clone(name), strings.Clone(values[0]))
		}
		r.Header = header
		next.ServeHTTP(w, r)
	})
}

func authenticate() fiber.Handler {
	return basicauth.New(basicauth.Config{
		Authorizer: func(user, password string) bool { return user != "" && password != "" },
	})
}

// customer says whose key a request carries. It finds what basicauth has left: the adaptor's request has fiber's locals as
// the values of its context.
func customer(r *http.Request) (string, error) {
	user, ok := r.Context().Value("username").(string)
	if !ok {
		return "", errors.New("nobody has signed in")
	}
	return user, nil
}

func pay(ledger *shop.Ledger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var payment shop.Payment
		if err := json.NewDecoder(r.Body).Decode(&payment); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		user, _ := customer(r) // once has asked it already
		receipt, err := ledger.Charge(user, payment)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/payments/"+receipt.ID)
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(receipt) // written to memory
	}
}

func main() {
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		log.Fatal(err)
	}
	app := routes(guard, new(shop.Ledger))
	shop.UntilInterrupted(guard, app.Listener, app.ShutdownWithContext)
}
