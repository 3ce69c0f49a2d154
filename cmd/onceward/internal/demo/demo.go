// Package demo is a small payments API to try retries on.
package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// maxDelay bounds X-Demo-Delay.
const maxDelay = 30 * time.Second

// payment is one line of the ledger.
type payment struct {
	ID     string `json:"id"`
	Amount int    `json:"amount"`
	To     string `json:"to"`
}

type ledger struct {
	mu       sync.Mutex
	payments []payment
}

// Keyless is the path on which a payment needs no key, because whoever guards the API derives it from the body.
const Keyless = "/api/keyless/payments"

// New returns an API with a ledger of its own: POST /api/payments pays, GET /api/payments lists what was paid. It knows
// nothing of keys: a payment that is asked for twice is made twice. With the header X-Demo-Delay, such as 3s, it takes its
// time before it pays, 30 s at most; with X-Demo-Crash: after, it pays and then breaks the connection off.
func New() http.Handler {
	l := &ledger{payments: []payment{}} // an empty ledger is [] in JSON
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/payments", l.pay)
	mux.HandleFunc("POST "+Keyless, l.pay)
	mux.HandleFunc("GET /api/payments", l.list)
	mux.HandleFunc("GET /api/payments/{id}", l.show)
	return mux
}

func (l *ledger) pay(w http.ResponseWriter, r *http.Request) {
	var p payment
	if err := json.NewDecoder(r.Body).Decode(&p); err != nil || p.Amount <= 0 || p.To == "" {
		http.Error(w, `send a payment such as {"amount":12,"to":"bob"}`, http.StatusBadRequest)
		return
	}
	crash := r.Header.Get("X-Demo-Crash")
	if crash != "" && crash != "after" {
		http.Error(w, "X-Demo-Crash is after: the API pays, and dies before it answers", http.StatusBadRequest)
		return
	}
	if text := r.Header.Get("X-Demo-Delay"); text != "" {
		delay, err := time.ParseDuration(text)
		if err != nil || delay < 0 {
			http.Error(w, "X-Demo-Delay is a duration such as 3s", http.StatusBadRequest)
			return
		}
		select {
		case <-time.After(min(delay, maxDelay)):
		case <-r.Context().Done():
			return
		}
	}
	l.book(&p)
	if crash != "" {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Location", "/api/payments/"+p.ID)
	answer(w, http.StatusCreated, &p)
}

func (l *ledger) book(p *payment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.ID = fmt.Sprintf("p-%d", len(l.payments)+1)
	l.payments = append(l.payments, *p)
}

func (l *ledger) list(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	payments := slices.Clone(l.payments)
	l.mu.Unlock()
	answer(w, http.StatusOK, payments)
}

func (l *ledger) show(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.payments {
		if p.ID == r.PathValue("id") {
			answer(w, http.StatusOK, &p)
			return
		}
	}
	http.NotFound(w, r)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) //nolint:errchkjson // payments always encode; the client may have left
}
