package oncetest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
	"github.com/onceward/onceward/oncetest"
)

// bank is what a payments service calls. It counts, as the fake of a test does.
type bank struct{ charges atomic.Int64 }

func (b *bank) Charges() int { return int(b.charges.Load()) }

func (b *bank) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"receipt": %d}`, b.charges.Add(1))
}

// In a test, t is its *testing.T; here it remembers what Twice reports.
func ExampleTwice() {
	t := new(recorder)
	guard, _ := onceward.New(memstore.New(nil), nil)
	defer guard.Close(context.Background())
	service := new(bank)
	once := oncehttp.New(guard, oncehttp.SingleTenant, nil)

	request := httptest.NewRequest(http.MethodPost, "/payments", strings.NewReader(`{"amount": 12}`))
	oncetest.Twice(t, once(service), request, &oncetest.Options{Effects: service.Charges})
	fmt.Println("guarded:", len(t.failures) == 0)

	request = httptest.NewRequest(http.MethodPost, "/payments", strings.NewReader(`{"amount": 12}`))
	oncetest.Twice(t, service, request, &oncetest.Options{Effects: service.Charges})
	fmt.Println("unguarded:", len(t.failures) == 0)
	fmt.Println(t.failures[0])
	// Output:
	// guarded: true
	// unguarded: false
	// oncetest: once and again: the second answer (201 Created) lacks "Idempotent-Replayed: true": the operation probably ran again
}
