// Command chi is a payments API on chi, whose middleware is that of net/http.
package main

import (
	"encoding/json"
	"log"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/onceward/onceward"
	"github.com/onceward/onceward/examples/shop"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

func routes(guard *onceward.Guard, ledger *shop.Ledger) http.Handler {
	customer := shop.Account // says whose key a request carries
	once := oncehttp.New(guard, customer, &oncehttp.Options{Keys: oncehttp.Required})
	router := chi.NewRouter()
	router.With(shop.Authenticate, once).Post("/payments", pay(ledger))
	return router
}

func pay(ledger *shop.Ledger) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var payment shop.Payment
		if err := json.NewDecoder(r.Body).Decode(&payment); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		account, _ := shop.Account(r) // once has asked it already
		receipt, err := ledger.Charge(account, payment)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/payments/"+receipt.ID)
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(receipt) // an error means that the client left; the answer is stored all the same
	}
}

func main() {
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		log.Fatal(err)
	}
	shop.Serve(routes(guard, new(shop.Ledger)), guard)
}
