package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// reply is what a client got.
type reply struct {
	status   int
	body     string
	replayed bool
	unstored bool // the client is told that it may not get this again
}

// send posts to a sidecar, with a key.
func send(ctx context.Context, base, path, key string) (reply, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, strings.NewReader(`{"tea":1}`))
	if err != nil {
		return reply{}, err
	}
	r.Header["idempotency-key"] = []string{key} // so that no client of ours sends it again by itself
	r.Header.Set("Content-Type", "application/json")
	response, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	header := response.Header
	return reply{
		response.StatusCode, string(body), header.Get("Idempotent-Replayed") == "true", header.Get("Idempotency-Stored") == "false",
	}, err
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}

// until sends the request until the answer is of a status other than the given ones. The test's own deadline bounds it.
func until(t *testing.T, base, key string, not ...int) reply {
	t.Helper()
	for {
		got, err := send(t.Context(), base, "/orders", key)
		check.NoError(t, err, "asking again")
		again := false
		for _, status := range not {
			again = again || got.status == status
		}
		if !again {
			return got
		}
	}
}

// shop is a service that counts the orders that reach it, and knows nothing of keys.
type shop struct {
	*httptest.Server
	calls atomic.Int64
	last  atomic.Pointer[http.Header] // of the last request
}

// newShop answers at once, or when release is closed.
func newShop(t *testing.T, entered chan<- struct{}, release <-chan struct{}) *shop {
	t.Helper()
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := s.calls.Add(1)
		header := r.Header.Clone()
		s.last.Store(&header)
		if entered != nil {
			entered <- struct{}{}
			<-release
		}
		w.Header().Set("Location", fmt.Sprintf("/orders/%d", n))
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, "order %d", n)
	}))
	t.Cleanup(s.Close)
	return s
}

// guard starts a sidecar in front of the shop, with its keys in dir.
func (s *shop) guard(t *testing.T, dir string, flags ...string) *process {
	t.Helper()
	return start(t, append([]string{"proxy", "--to", s.URL, "--scope", "none", "--listen", "127.0.0.1:0", "--store", dir}, flags...)...)
}

// kill ends the process as a crash does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	check.NoError(t, p.Process.Kill(), "kill -9")
	<-p.exited
}

// onceward runs the command line and returns what it prints.
func onceward(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Stdin = strings.NewReader(input)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	check.NoError(t, err, "onceward %s: %s", strings.Join(args, " "), errs.String())
	return string(out)
}

func TestManyDuplicatesAreOneCall(t *testing.T) {
	entered, release := make(chan struct{}, 200), make(chan struct{})
	s := newShop(t, entered, release)
	p := s.guard(t, filepath.Join(t.TempDir(), "data"))
	var all sync.WaitGroup
	var first, conflicts atomic.Int64
	for range 200 {
		all.Go(func() {
			got, err := send(t.Context(), p.base, "/orders", "k")
			switch {
			case err != nil:
				t.Errorf("sending: %v", err)
			case got.status == http.StatusConflict:
				if conflicts.Add(1) == 199 {
					close(release)
				}
			case got == reply{status: http.StatusCreated, body: "order 1", replayed: false}:
				first.Add(1)
			default:
				t.Errorf("an answer: %+v", got)
			}
		})
	}
	all.Wait()
	check.Equal(t, s.calls.Load(), int64(1), "calls")
	check.Equal(t, first.Load(), int64(1), "first answers")
	got, err := send(t.Context(), p.base, "/orders", "k")
	check.NoError(t, err, "a retry")
	check.Equal(t, got, reply{status: http.StatusCreated, body: "order 1", replayed: true}, "the answer to a retry")
	p.stop(t)
}

func TestAnswersOutliveTheProcess(t *testing.T) {
	s, dir := newShop(t, nil, nil), filepath.Join(t.TempDir(), "data")
	p := s.guard(t, dir)
	const orders = 100
	want := map[string]reply{}
	for i := range orders {
		key := fmt.Sprint("order-", i)
		got, err := send(t.Context(), p.base, "/orders", key)
		check.NoError(t, err, "%s", key)
		check.Equal(t, got.status, http.StatusCreated, "status of %s", key)
		want[key] = reply{status: got.status, body: got.body, replayed: true}
	}
	p.kill(t)
	p = s.guard(t, dir)
	for key, replay := range want {
		got, err := send(t.Context(), p.base, "/orders", key)
		check.NoError(t, err, "%s", key)
		check.Equal(t, got, replay, "the answer to %s after kill -9", key)
	}
	p.stop(t)
	p = s.guard(t, dir)
	got, err := send(t.Context(), p.base, "/orders", "order-7")
	check.NoError(t, err, "a retry")
	check.Equal(t, got, want["order-7"], "the answer after an orderly restart")
	check.Equal(t, s.calls.Load(), int64(orders), "calls")
}

// crashed is a sidecar that was killed while the shop worked on an order, and started again.
func crashed(t *testing.T, flags ...string) (s *shop, p *process, dir string) {
	t.Helper()
	entered, release := make(chan struct{}, 2), make(chan struct{})
	s, dir = newShop(t, entered, release), filepath.Join(t.TempDir(), "data")
	flags = append(flags, "--lease", "1s")
	p = s.guard(t, dir, flags...)
	go func() { _, _ = send(t.Context(), p.base, "/orders", "k") }() // it gets no answer
	<-entered
	p.kill(t)
	close(release)
	return s, s.guard(t, dir, flags...), dir
}

func TestKilledWhileTheServiceWorksIsInDoubt(t *testing.T) {
	s, p, dir := crashed(t)
	began := time.Now()
	var got reply
	for got.status == 0 || strings.Contains(got.body, `"code":"in-progress"`) {
		got = until(t, p.base, "k")
	}
	took := time.Since(began)
	check.True(t, strings.Contains(got.body, `"code":"in-doubt"`), "the answer: %+v", got)
	check.True(t, took < 5*time.Second, "in doubt after %v", took)

	list := onceward(t, "", "keys", "list", "--store", dir, "--state", "in-doubt", "--quiet")
	id := strings.TrimSpace(list)
	check.Equal(t, len(id), 64, "length of the id in %q", list)
	onceward(t, "order 1 it was", "keys", "resolve", id, "--store", dir, "--done", "--status", "201",
		"--header", "Location: /orders/1", "--header", "Content-Type: text/plain", "--body", "-", "--reason", "seen in the shop")
	got, err := send(t.Context(), p.base, "/orders", "k")
	check.NoError(t, err, "the retry")
	check.Equal(t, got, reply{status: http.StatusCreated, body: "order 1 it was", replayed: true}, "the answer after it was resolved")
	check.Equal(t, s.calls.Load(), int64(1), "calls")
	p.stop(t)
}

func TestKilledWhileTheServiceWorksRunsAgainUnderRerun(t *testing.T) {
	s, p, _ := crashed(t, "--on-crash", "rerun")
	before := *s.last.Load()
	got := until(t, p.base, "k", http.StatusConflict)
	check.Equal(t, got, reply{status: http.StatusCreated, body: "order 2", replayed: false}, "the answer")
	after := *s.last.Load()
	check.Equal(t, before.Get("Idempotency-Attempt")+" "+after.Get("Idempotency-Attempt"), "1 2", "attempts")
	check.True(t, before.Get("Idempotency-Fence") < after.Get("Idempotency-Fence"), "fences: %s and %s",
		before.Get("Idempotency-Fence"), after.Get("Idempotency-Fence"))
	got, err := send(t.Context(), p.base, "/orders", "k")
	check.NoError(t, err, "a retry")
	check.Equal(t, got, reply{status: http.StatusCreated, body: "order 2", replayed: true}, "the answer to a retry")
	check.Equal(t, s.calls.Load(), int64(2), "calls")
	p.stop(t)
}

func TestClientThatLeftFindsTheAnswer(t *testing.T) {
	entered, release := make(chan struct{}, 1), make(chan struct{})
	s := newShop(t, entered, release)
	p := s.guard(t, filepath.Join(t.TempDir(), "data"))
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		_, err := send(ctx, p.base, "/orders", "k")
		check.True(t, err != nil, "the client did not leave")
		close(gone)
	}()
	<-entered
	leave()
	<-gone
	close(release)
	got := until(t, p.base, "k", http.StatusConflict)
	check.Equal(t, got, reply{status: http.StatusCreated, body: "order 1", replayed: true}, "the answer to the retry")
	check.Equal(t, s.calls.Load(), int64(1), "calls")
	p.stop(t)
}

func TestSecondProcessIsRefused(t *testing.T) {
	s, dir := newShop(t, nil, nil), filepath.Join(t.TempDir(), "data")
	p := s.guard(t, dir)
	second := exec.CommandContext(t.Context(), binary, "proxy", "--to", s.URL, "--scope", "none", "--listen", "127.0.0.1:0", "--store", dir)
	out, err := second.CombinedOutput()
	check.True(t, err != nil && second.ProcessState.ExitCode() == 1, "its end: %v", err)
	check.True(t, strings.Contains(string(out), "in use"), "what it says: %s", out)
	p.stop(t)
}

// A rolling restart, or an operator's command on the files, holds the directory for a moment.
func TestAProxyWaitsForTheOneThatEnds(t *testing.T) {
	s, dir := newShop(t, nil, nil), filepath.Join(t.TempDir(), "data")
	first := s.guard(t, dir)
	second := exec.CommandContext(t.Context(), binary, "proxy", "--to", s.URL, "--scope", "none", "--listen", "127.0.0.1:0", "--store", dir)
	out, err := second.StdoutPipe()
	check.NoError(t, err, "a pipe")
	check.NoError(t, second.Start(), "starting the second one")
	t.Cleanup(func() { _ = second.Process.Kill(); _ = second.Wait() })
	first.stop(t)
	line, err := bufio.NewReader(out).ReadString('\n')
	check.NoError(t, err, "what the second one says")
	check.True(t, strings.HasPrefix(line, "listening on "), "what the second one says: %q", line)
}
