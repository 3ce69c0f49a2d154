package metrics

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
)

// A duplicate whose client leaves does not wait any more.
func TestWhoeverLeavesDoesNotWait(t *testing.T) {
	m := New()
	entered, leave := make(chan struct{}), make(chan struct{})
	end := sync.OnceFunc(func() { close(leave) })
	server := guarded(t, m, &onceward.Policy{Wait: time.Minute}, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	})
	t.Cleanup(end) // before the server waits for the handler, also when the test fails
	first := make(chan int, 1)
	go func() { first <- post(t, server, "k", "x") }()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, server.URL+"/orders", strings.NewReader("x"))
		r.Header.Set("Idempotency-Key", "k")
		res, err := server.Client().Do(r)
		if err == nil {
			res.Body.Close()
		}
		left <- err
	}()
	until := func(want float64) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Second); value(t, exposition(t, m), "onceward_duplicates_waiting") != want; {
			check.True(t, time.Now().Before(deadline), "%v wait, want %v", value(t, exposition(t, m), "onceward_duplicates_waiting"), want)
		}
	}
	until(1)
	cancel()
	<-left
	until(0)
	end()
	check.Equal(t, <-first, 200, "first")
}
