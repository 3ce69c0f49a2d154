// Package shop is what the examples have in common: a ledger to charge, accounts to sign in to, and a server.
package shop

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/onceward/onceward"
)

// Addr is where the examples listen.
const Addr = "127.0.0.1:8080"

// Payment is what a client asks for.
type Payment struct {
	Amount int `json:"amount"` // in cents
}

// Receipt is what it gets.
type Receipt struct {
	ID      string `json:"id"`
	Account string `json:"account"`
	Amount  int    `json:"amount"`
}

// ErrAmount is the end of a payment of nothing.
var ErrAmount = errors.New("the amount must be positive")

// Ledger is where a second charge would be seen. It is safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	receipts []Receipt
}

// Charge books a payment. It has no idea of retries.
func (l *Ledger) Charge(account string, p Payment) (Receipt, error) {
	if p.Amount <= 0 {
		return Receipt{}, ErrAmount
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := Receipt{ID: fmt.Sprintf("r-%d", len(l.receipts)+1), Account: account, Amount: p.Amount}
	l.receipts = append(l.receipts, r)
	return r, nil
}

// Charges is how many payments were booked.
func (l *Ledger) Charges() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.receipts)
}

type accountKey struct{}

// SignIn returns a context that knows the account of a user. These examples take any password.
func SignIn(ctx context.Context, user, password string) (context.Context, bool) {
	if user == "" || password == "" {
		return ctx, false
	}
	return context.WithValue(ctx, accountKey{}, user), true
}

// Account is the account of a signed-in user, and the scope of its keys: it finds what authentication left in the context.
func Account(r *http.Request) (string, error) {
	account, ok := r.Context().Value(accountKey{}).(string)
	if !ok {
		return "", errors.New("nobody has signed in")
	}
	return account, nil
}

// Authenticate is SignIn for those who use handlers of net/http.
func Authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		ctx, ok := SignIn(r.Context(), user, password)
		if !ok {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "sign in", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// Serve serves until it is interrupted. It ends the server first and the guard then, so that every outcome is stored.
func Serve(handler http.Handler, guard *onceward.Guard) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	UntilInterrupted(guard, server.Serve, server.Shutdown)
}

// UntilInterrupted is Serve for servers of other kinds.
func UntilInterrupted(guard *onceward.Guard, serve func(net.Listener) error, shutdown func(context.Context) error) {
	listener, err := net.Listen("tcp", Addr) //nolint:noctx // it returns at once
	if err != nil {
		log.Fatal(err)
	}
	interrupted, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	failed := make(chan error, 1)
	go func() { failed <- serve(listener) }()
	log.Printf(`try this twice: curl -i -u alice:secret -H 'Idempotency-Key: "order-1"' --json '{"amount": 1200}' http://%s/payments`, Addr)
	select {
	case err := <-failed:
		log.Print(err)
	case <-interrupted.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := errors.Join(shutdown(ctx), guard.Close(ctx)); err != nil {
		log.Print(err)
	}
}
