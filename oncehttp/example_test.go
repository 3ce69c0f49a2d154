package oncehttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

// The service that the README shows, and what its clients see.
func Example() {
	mux := http.NewServeMux()
	payments := 0
	createPayment := func(w http.ResponseWriter, _ *http.Request) {
		payments++
		w.Header().Set("Location", fmt.Sprintf("/payments/%d", payments))
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "payment %d", payments)
	}

	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		panic(err)
	}
	defer guard.Close(context.Background()) // waits for outcomes that are still being stored

	once := oncehttp.New(guard, customer, nil)
	mux.Handle("POST /payments", once(http.HandlerFunc(createPayment)))

	server := httptest.NewServer(mux)
	defer server.Close()
	post(server, `"k-1"`, `{"amount": 12}`)
	post(server, `"k-1"`, `{"amount": 12}`)
	post(server, `"k-1"`, `{"amount": 99}`)
	fmt.Println("payments:", payments)
	// Output:
	// 201 payment 1 replayed=""
	// 201 payment 1 replayed="true"
	// 422 key-reused replayed=""
	// payments: 1
}

// customer says whose key a request carries: here, who signed in.
func customer(r *http.Request) (string, error) {
	name, _, ok := r.BasicAuth()
	if !ok {
		return "", errors.New("nobody has signed in")
	}
	return name, nil
}

func post(server *httptest.Server, key, body string) {
	r, _ := http.NewRequest(http.MethodPost, server.URL+"/payments", strings.NewReader(body))
	r.Header.Set("Idempotency-Key", key)
	r.SetBasicAuth("alice", "secret")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		panic(err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(answer.Body)
	if answer.Header.Get("Content-Type") == "application/problem+json" {
		text = []byte(strings.Split(strings.Split(string(text), `"code":"`)[1], `"`)[0])
	}
	fmt.Printf("%d %s replayed=%q\n", answer.StatusCode, text, answer.Header.Get("Idempotent-Replayed"))
}

// A handler may say how it ended. The field is not sent to the client.
func ExampleNew_control() {
	guard, _ := onceward.New(memstore.New(nil), nil)
	runs := 0
	once := oncehttp.New(guard, oncehttp.SingleTenant, nil)
	server := httptest.NewServer(once(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		runs++
		w.Header().Set("Idempotency-Control", "retry") // nothing happened: the next request with the key runs
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "the bank is closed")
	})))
	defer server.Close()
	post(server, "k-1", "")
	post(server, "k-1", "")
	fmt.Println("runs:", runs)
	// Output:
	// 502 the bank is closed replayed=""
	// 502 the bank is closed replayed=""
	// runs: 2
}

// The key that a client sends may be a structured-field string or bare; both are the same key.
func ExampleParseKey() {
	for _, field := range []string{`"k-1"`, `k-1`, `a,b`} {
		key, err := oncehttp.ParseKey([]string{field})
		fmt.Println(key, err)
	}
	// Output:
	// k-1 <nil>
	// k-1 <nil>
	//  oncehttp: the key header field holds a list; send one key
}
