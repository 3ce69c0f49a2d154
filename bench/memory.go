package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

const (
	attempts    = 10_000
	waitersEach = 500
)

// held is bytes on the heap and in stacks, and goroutines.
type held struct{ heap, stack, goroutines float64 }

func (h held) minus(other held) held {
	return held{h.heap - other.heap, h.stack - other.stack, h.goroutines - other.goroutines}
}

func (h held) each(n float64) held { return held{h.heap / n, h.stack / n, h.goroutines / n} }

// holding is what each of n things holds that begin makes and end ends, where nobody else makes anything.
func holding(n int, begin func() error, end func()) (held, error) {
	before := settled()
	if err := begin(); err != nil {
		return held{}, err
	}
	now := settled()
	end()
	return now.minus(before).each(float64(n)), nil
}

// settled collects until that changes nothing any more: what is reachable only through a pool lives for two collections,
// and a goroutine that is about to wait still grows.
func settled() held {
	for last := uint64(0); ; {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		now := m.HeapAlloc + m.StackInuse
		if max(now, last)-min(now, last) < 16<<10 {
			return held{float64(m.HeapAlloc), float64(m.StackInuse), float64(runtime.NumGoroutine())}
		}
		last = now
	}
}

func memoryTable() *table {
	return &table{
		name:   "memory",
		title:  fmt.Sprintf("what is held, with %d running attempts or waiting duplicates", attempts),
		custom: measureMemory,
	}
}

func measureMemory() (header []string, lines [][]string, err error) {
	keys() // before anything is measured
	header = []string{"row", "heap B each", "stack B each", "goroutines each", "target"}
	add := func(name string, h held, targets ...target) {
		lines = append(lines, []string{
			name, fmt.Sprintf("%.0f", h.heap), fmt.Sprintf("%.0f", h.stack), fmt.Sprintf("%.3f", h.goroutines),
			judge(targets, figures{bytes: h.heap + h.stack, goroutines: h.goroutines}),
		})
	}
	var all [6]held
	for i, m := range [...]struct {
		name    string
		of      func() (held, error)
		targets []target
	}{
		{"a running record in memstore", runningRecords, nil},
		{"a running attempt, with its record", runningAttempts, []target{goroutines(0.001)}},
		{"a goroutine that waits for a channel", blockedCallers, nil},
		{"a waiting duplicate, with its goroutine", waitingDuplicates, nil},
		{"a request in a bare handler", bareRequests, nil},
		{"a request in a handler that oncehttp guards", guardedRequests, nil},
	} {
		if all[i], err = m.of(); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", m.name, err)
		}
		add(m.name, all[i], m.targets...)
	}
	record, attempt, caller, waiter, bare, guarded := all[0], all[1], all[2], all[3], all[4], all[5]
	add("running attempt − record", attempt.minus(record), kibibyte)
	add("waiting duplicate − goroutine", waiter.minus(caller), kibibyte)
	add("guarded request − bare one − record", guarded.minus(bare).minus(record), kibibyte)
	return header, lines, nil
}

// runningRecords is the store alone. The records share their strings, so an attempt's own count as the attempt's.
func runningRecords() (held, error) {
	s, ids, claim := memstore.New(nil), ids(), theClaim()
	h, err := holding(attempts, func() error {
		for n := range attempts {
			if _, err := s.Acquire(context.Background(), ids[n], claim); err != nil {
				return err
			}
		}
		return nil
	}, func() {})
	runtime.KeepAlive(s)
	return h, err
}

func runningAttempts() (held, error) {
	ctx := context.Background()
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		return held{}, err
	}
	running := make([]*onceward.Attempt, 0, attempts)
	return holding(attempts, func() error {
		for n := range attempts {
			attempt, err := guard.Begin(ctx, keys()[n], nil, theInput)
			if err != nil {
				return err
			}
			running = append(running, attempt)
		}
		return nil
	}, func() {
		for _, attempt := range running {
			_ = attempt.Complete(nil) // the store never fails
		}
		_ = guard.Close(ctx)
	})
}

func blockedCallers() (held, error) {
	var wg sync.WaitGroup
	end := make(chan struct{})
	return holding(attempts, func() error {
		for range attempts {
			wg.Go(func() { <-end })
		}
		return nil
	}, func() {
		close(end)
		wg.Wait()
	})
}

// waitingDuplicates is goroutines that wait inside Begin, some hundreds for each of a few running attempts.
func waitingDuplicates() (held, error) {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	var waiting, left sync.WaitGroup
	waiting.Add(attempts)
	guard, err := onceward.New(memstore.New(nil), &onceward.Options{Trace: func(_ context.Context, t onceward.Trace) {
		if t.Step == "waiting" {
			waiting.Done()
		}
	}})
	if err != nil {
		return held{}, err
	}
	patient := &onceward.Policy{Wait: time.Hour}
	running := make([]*onceward.Attempt, attempts/waitersEach)
	for n := range running {
		if running[n], err = guard.Begin(ctx, keys()[n], nil, theInput); err != nil {
			return held{}, err
		}
	}
	return holding(attempts, func() error {
		for n := range attempts {
			left.Go(func() {
				_, _ = guard.Begin(ctx, keys()[n%len(running)], patient, theInput) // refused, because ctx ends
			})
		}
		waiting.Wait()
		return nil
	}, func() {
		leave()
		left.Wait()
		for _, attempt := range running {
			_ = attempt.Complete(nil)
		}
		_ = guard.Close(context.Background())
	})
}

func bareRequests() (held, error) {
	return runningRequests(func(h http.Handler) http.Handler { return h })
}

func guardedRequests() (held, error) {
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		return held{}, err
	}
	defer func() { _ = guard.Close(context.Background()) }()
	return runningRequests(oncehttp.New(guard, oncehttp.SingleTenant, nil))
}

// runningRequests is requests whose handler does not return. There is no network in it.
func runningRequests(guarded func(http.Handler) http.Handler) (held, error) {
	var inside, left sync.WaitGroup
	inside.Add(attempts)
	end := make(chan struct{})
	handler := guarded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // it is in memory
		inside.Done()
		<-end
		w.WriteHeader(http.StatusNoContent)
	}))
	return holding(attempts, func() error {
		for n := range attempts {
			r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "/payments", strings.NewReader(requestBody))
			if err != nil {
				return err
			}
			r.Header.Set("Idempotency-Key", keys()[n].Value)
			left.Go(func() {
				handler.ServeHTTP(noClient{}, r)
				runtime.KeepAlive(r) // as net/http does until the answer is out
			})
		}
		inside.Wait()
		return nil
	}, func() {
		close(end)
		left.Wait()
	})
}

// noClient is a ResponseWriter for nobody.
type noClient struct{}

func (noClient) Header() http.Header         { return http.Header{} }
func (noClient) Write(p []byte) (int, error) { return len(p), nil }
func (noClient) WriteHeader(int)             {}
