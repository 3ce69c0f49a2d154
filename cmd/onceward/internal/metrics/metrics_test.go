package metrics

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
)

// exposition is what m serves.
func exposition(t *testing.T, m *Metrics) string {
	t.Helper()
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	res, err := server.Client().Get(server.URL)
	check.NoError(t, err, "asking for metrics")
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	check.NoError(t, err, "reading metrics")
	return string(body)
}

// value is that of one series, and fails the test if the series is not there.
func value(t *testing.T, text, series string) float64 {
	t.Helper()
	_, after, ok := strings.Cut("\n"+text, "\n"+series+" ")
	check.True(t, ok, "there is no %s", series)
	line, _, _ := strings.Cut(after, "\n")
	v, err := strconv.ParseFloat(line, 64)
	check.NoError(t, err, "%s", series)
	return v
}

// guarded is a service behind a guard whose hook is m's.
func guarded(t *testing.T, m *Metrics, policy *onceward.Policy, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	guard, err := onceward.New(memstore.New(nil), &onceward.Options{Trace: m.Trace})
	check.NoError(t, err, "guard")
	once := oncehttp.New(guard, oncehttp.SingleTenant, &oncehttp.Options{Policy: policy, Keys: oncehttp.Required})
	server := httptest.NewServer(once(handle))
	t.Cleanup(func() {
		server.Close()
		check.NoError(t, guard.Close(context.Background()), "closing the guard")
	})
	return server
}

func post(t *testing.T, server *httptest.Server, key, body string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, server.URL+"/orders", strings.NewReader(body))
	check.NoError(t, err, "request")
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	res, err := server.Client().Do(r)
	check.NoError(t, err, "post")
	check.NoError(t, res.Body.Close(), "closing the answer")
	return res.StatusCode
}

func TestWhatAGuardDoesIsCounted(t *testing.T) {
	m := New()
	server := guarded(t, m, nil, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "doubt" {
			w.Header().Set("Idempotency-Control", "in-doubt")
		}
		_, _ = io.WriteString(w, "made")
	})
	check.Equal(t, post(t, server, "a", "x"), 200, "first")
	check.Equal(t, post(t, server, "a", "x"), 200, "replay")
	check.Equal(t, post(t, server, "a", "other"), 422, "another request")
	check.Equal(t, post(t, server, "", "x"), 400, "no key")
	check.Equal(t, post(t, server, "doubt", "x"), 200, "a doubt arises")
	check.Equal(t, post(t, server, "doubt", "x"), 409, "in doubt")

	text := exposition(t, m)
	for series, want := range map[string]float64{
		`onceward_transitions_total{step="acquired"}`:              2,
		`onceward_transitions_total{step="completed"}`:             1,
		`onceward_transitions_total{step="given-up"}`:              1,
		`onceward_transitions_total{step="taken-over"}`:            0,
		`onceward_refusals_total{code="key-reused"}`:               1,
		`onceward_refusals_total{code="key-missing"}`:              1,
		`onceward_refusals_total{code="in-doubt"}`:                 1,
		`onceward_refusals_total{code="other"}`:                    0,
		`onceward_replays_total{kind="answer"}`:                    1,
		`onceward_outcomes_total{kind="answer"}`:                   1,
		`onceward_doubts_total`:                                    1,
		`onceward_attempts_running`:                                0,
		`onceward_attempt_duration_seconds_count{end="completed"}`: 1,
		`onceward_attempt_duration_seconds_count{end="given-up"}`:  1,
		`onceward_store_calls_total{result="ok",verb="complete"}`:  1,
		`onceward_breaker_open`:                                    0,
	} {
		check.Equal(t, value(t, text, series), want, "%s", series)
	}
	stored := value(t, text, "onceward_outcome_stored_bytes_total")
	check.True(t, stored > float64(len("made")), "%v bytes stored", stored)
	check.Equal(t, value(t, text, "onceward_outcome_replayed_bytes_total"), stored, "bytes replayed")
}

func TestRunningAndWaitingAreShownWhileTheyLast(t *testing.T) {
	m := New()
	entered, leave := make(chan struct{}), make(chan struct{})
	end := sync.OnceFunc(func() { close(leave) })
	server := guarded(t, m, &onceward.Policy{Wait: time.Minute}, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	})
	t.Cleanup(end) // before the server waits for the handler, also when the test fails
	statuses := make(chan int, 2)
	ask := func() { statuses <- post(t, server, "k", "x") }
	go ask()
	<-entered
	go ask()
	for deadline := time.Now().Add(10 * time.Second); value(t, exposition(t, m), "onceward_duplicates_waiting") != 1; {
		check.True(t, time.Now().Before(deadline), "nobody waits")
	}
	check.Equal(t, value(t, exposition(t, m), "onceward_attempts_running"), 1.0, "running")
	end()
	check.Equal(t, []int{<-statuses, <-statuses}, []int{200, 200}, "statuses")
	text := exposition(t, m)
	check.Equal(t, value(t, text, "onceward_attempts_running"), 0.0, "running at the end")
	check.Equal(t, value(t, text, "onceward_duplicates_waiting"), 0.0, "waiting at the end")
	check.Equal(t, value(t, text, "onceward_duplicate_wait_seconds_count"), 1.0, "waited")
}

// An attempt may end more than once: it loses its key, and its handler comes back later and completes in vain.
func TestAnAttemptEndsOnce(t *testing.T) {
	m, ctx := New(), t.Context()
	id := driver.ID{1}
	m.Trace(ctx, onceward.Trace{Step: "acquired", ID: id, Attempt: 1, Fence: 1})
	m.Trace(ctx, onceward.Trace{Step: "taken-over", ID: id, Attempt: 2, Fence: 2})
	check.Equal(t, m.running.count(), 2.0, "two attempts of one key")
	for range 2 {
		m.Trace(ctx, onceward.Trace{Step: "lease-lost", ID: id, Fence: 1})
	}
	check.Equal(t, m.running.count(), 1.0, "the other one runs")
	m.Trace(ctx, onceward.Trace{Step: "completed", ID: id, Fence: 2, Kind: driver.Answer})
	check.Equal(t, m.running.count(), 0.0, "running at the end")
	check.Equal(t, value(t, exposition(t, m), `onceward_attempt_duration_seconds_count{end="lease-lost"}`), 1.0, "durations")
}

func TestStoreCallsHaveResults(t *testing.T) {
	m := New()
	wrapped := func(err error) error { return fmt.Errorf("the disk: %w", err) }
	for want, err := range map[string]error{
		"ok": nil, "lost": wrapped(driver.ErrLost), "full": wrapped(driver.ErrFull), "undecodable": wrapped(driver.ErrUndecodable),
		"unavailable": wrapped(driver.ErrUnavailable), "unknown": context.DeadlineExceeded,
	} {
		m.Trace(t.Context(), onceward.Trace{Step: "store-call", Verb: "acquire", Took: time.Millisecond, Err: err})
		series := `onceward_store_calls_total{result="` + want + `",verb="acquire"}`
		check.Equal(t, value(t, exposition(t, m), series), 1.0, "%s", series)
	}
	check.Equal(t, value(t, exposition(t, m), `onceward_store_call_duration_seconds_count{verb="acquire"}`), 6.0, "durations")
}

func TestBreakerAndSweepsAreCounted(t *testing.T) {
	m, ctx := New(), t.Context()
	m.Trace(ctx, onceward.Trace{Step: "breaker-open"})
	m.Trace(ctx, onceward.Trace{Step: "swept", Count: 3})
	m.Trace(ctx, onceward.Trace{Step: "swept", Count: 1, Err: errors.New("cut off")})
	text := exposition(t, m)
	check.Equal(t, value(t, text, "onceward_breaker_open"), 1.0, "open")
	check.Equal(t, value(t, text, `onceward_sweeps_total{result="ok"}`), 1.0, "sweeps")
	check.Equal(t, value(t, text, `onceward_sweeps_total{result="failed"}`), 1.0, "failed sweeps")
	check.Equal(t, value(t, text, "onceward_swept_records_total"), 4.0, "swept")
	m.Trace(ctx, onceward.Trace{Step: "breaker-closed"})
	check.Equal(t, value(t, exposition(t, m), "onceward_breaker_open"), 0.0, "closed")
}

// Every step is told with a canary in each field, and each field of words also with a word that nobody knows.
func TestNoLabelHoldsWhatATraceHolds(t *testing.T) {
	m := New()
	const canary = "canary"
	id := driver.ID([]byte("canary-canary-canary-canary-cana"))
	told := append([]string{"store-call", "waiting", "waited", "swept", canary}, steps...)
	for _, step := range told {
		m.Trace(t.Context(), onceward.Trace{
			Step: step, ID: id, Attempt: 7700771, Fence: 7700771, Kind: 77, Verb: canary, Reason: canary, Err: errors.New(canary),
			Labels: driver.Labels{
				KeyTag: [8]byte([]byte("canary78")), ScopeTag: [8]byte([]byte("canary78")),
				KeyHint: canary, Operation: canary, Route: canary, Host: canary,
			},
		})
	}
	text := exposition(t, m)
	for _, secret := range []string{canary, id.String(), id.Short(), "7700771"} {
		check.True(t, !strings.Contains(text, secret), "%q is in:\n%s", secret, text)
	}
	for _, series := range []string{
		`onceward_transitions_total{step="other"}`, `onceward_refusals_total{code="other"}`, `onceward_outcomes_total{kind="other"}`,
		`onceward_replays_total{kind="other"}`, `onceward_store_calls_total{result="unknown",verb="other"}`,
	} {
		check.Equal(t, value(t, text, series), 1.0, "%s", series)
	}
}

func TestNamesFollowTheConventions(t *testing.T) {
	m := New()
	m.records.set(Counts{}, time.Now())
	problems, err := promlint.New(strings.NewReader(exposition(t, m))).Lint()
	check.NoError(t, err, "lint")
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "onceward_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

// What is documented is served, and the other way round.
func TestEveryMetricIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/metrics.md")
	check.NoError(t, err, "the page")
	m := New()
	m.records.set(Counts{}, time.Now())
	served := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^# TYPE (onceward_\w+)`).FindAllStringSubmatch(exposition(t, m), -1) {
		served[match[1]] = true
	}
	documented := map[string]bool{}
	row := regexp.MustCompile("(?m)^\\| `(onceward_\\w+)[`{][^|]*\\| (?:counter|gauge|histogram)")
	for _, match := range row.FindAllStringSubmatch(string(page), -1) {
		documented[match[1]] = true
	}
	check.Equal(t, documented, served, "documented")
}

// Each problem that a guard or its door refuses with has a counter of its own.
func TestEveryCodeOfARefusalIsKnown(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/problems.md")
	check.NoError(t, err, "the page")
	m := New()
	found := 0
	for _, match := range regexp.MustCompile(`(?m)^## (\S+)$`).FindAllStringSubmatch(string(page), -1) {
		code := match[1]
		if code == "handler-failed" || code == "connection-invalid" || strings.HasPrefix(code, "upstream-") {
			continue // answers of the handler, which the guard takes as such
		}
		if code == "answer-too-large" {
			continue // of transactions, which the proxy does not have
		}
		found++
		_, ok := m.refusals[code]
		check.True(t, ok, "%s is counted as other", code)
	}
	check.True(t, found > 10, "%d codes on the page", found)
}

func TestTraceDoesNotAllocate(t *testing.T) {
	m, ctx := New(), t.Context()
	id := driver.ID{1}
	allocs := testing.AllocsPerRun(1000, func() { traceRequest(ctx, m, id) })
	check.Equal(t, allocs, 0.0, "allocations for a request")
}

// traceRequest tells m what a guarded request that runs tells.
func traceRequest(ctx context.Context, m *Metrics, id driver.ID) {
	m.Trace(ctx, onceward.Trace{Step: "store-call", Verb: "acquire", Took: time.Millisecond})
	m.Trace(ctx, onceward.Trace{Step: "acquired", ID: id, Attempt: 1, Fence: 1})
	m.Trace(ctx, onceward.Trace{Step: "store-call", Verb: "complete", Took: time.Millisecond})
	m.Trace(ctx, onceward.Trace{Step: "completed", ID: id, Attempt: 1, Fence: 1, Kind: driver.Answer, Size: 100})
}

// BenchmarkTrace is the four traces of a guarded request that runs, by several goroutines.
func BenchmarkTrace(b *testing.B) {
	m, ctx := New(), b.Context()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		id := driver.ID([]byte(fmt.Sprintf("%32d", time.Now().UnixNano())))
		for n := 0; pb.Next(); n++ {
			id[0] = byte(n)
			traceRequest(ctx, m, id)
		}
	})
}

func BenchmarkStoreCall(b *testing.B) {
	m, ctx := New(), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		m.Trace(ctx, onceward.Trace{Step: "store-call", Verb: "acquire", Took: time.Millisecond})
	}
}
