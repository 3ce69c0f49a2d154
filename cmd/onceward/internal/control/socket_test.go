package control

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

func TestSocketIsClosedToOthers(t *testing.T) {
	dir := t.TempDir()
	w := &world{store: memstore.New(nil)}
	w.serve(t, dir)
	info, err := os.Stat(filepath.Join(dir, "control.sock"))
	check.NoError(t, err, "Stat")
	check.Equal(t, info.Mode(), fs.ModeSocket|0o600, "mode")
	inside, err := os.ReadDir(dir)
	check.NoError(t, err, "ReadDir")
	check.Equal(t, len(inside), 1, "what is in the directory: %v", inside)
}

func TestSocketIsGoneAfterClose(t *testing.T) {
	dir := t.TempDir()
	desk := NewDesk(memstore.New(nil), nil)
	first, err := Serve(dir, desk, slog.Default())
	check.NoError(t, err, "Serve")
	check.NoError(t, first.Close(), "Close")
	_, err = Dial(t.Context(), dir)
	check.ErrorIs(t, err, ErrNobody, "Dial")
	second, err := Serve(dir, desk, slog.Default())
	check.NoError(t, err, "Serve again")
	defer second.Close()
	check.NoError(t, first.Close(), "Close again")
	_, err = Dial(t.Context(), dir)
	check.NoError(t, err, "Dial, after another process has come and the first was closed again")
}

// leave makes the socket of a process that was killed.
func leave(t *testing.T, dir string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unix"})
	check.NoError(t, err, "Listen")
	l.SetUnlinkOnClose(false)
	check.NoError(t, l.Close(), "Close")
}

func TestSocketOfAKilledProcess(t *testing.T) {
	dir := t.TempDir()
	_, err := Dial(t.Context(), dir)
	check.ErrorIs(t, err, ErrNobody, "Dial without a socket")
	_, err = Dial(t.Context(), filepath.Join(dir, "none"))
	check.ErrorIs(t, err, ErrNobody, "Dial without a directory")
	leave(t, dir)
	check.NoError(t, os.MkdirAll(filepath.Join(dir, ".control", "x"), 0o777), "the directory of one that was killed just before")
	_, err = Dial(t.Context(), dir)
	check.ErrorIs(t, err, ErrNobody, "Dial with a socket that is left")
	w := &world{store: memstore.New(nil)}
	_, err = w.serve(t, dir).Stats(t.Context())
	check.NoError(t, err, "Stats")
}

func TestLongPaths(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	check.NoError(t, os.Mkdir(long, 0o700), "Mkdir")
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	w := &world{store: memstore.New(nil)}
	_, err := w.serve(t, long).Stats(t.Context())
	check.NoError(t, err, "Stats")
	left, err := os.ReadDir(temp)
	check.NoError(t, err, "ReadDir")
	check.Equal(t, len(left), 0, "links that are left: %v", left)

	t.Setenv("TMPDIR", long)
	_, err = Serve(long, NewDesk(w.store, nil), slog.Default())
	check.True(t, err != nil && strings.Contains(err.Error(), "TMPDIR"), "the error: %v", err)
}

// raw sends a request as it is written.
func raw(t *testing.T, dir, method, path, body string) (status int, answer Error) {
	t.Helper()
	c, err := Dial(t.Context(), dir)
	check.NoError(t, err, "Dial")
	r, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	check.NoError(t, err, "the request")
	response, err := c.http.Do(r)
	check.NoError(t, err, "the answer")
	defer response.Body.Close()
	check.Equal(t, response.Header.Get(versionHeader), version, "the version")
	check.NoError(t, json.NewDecoder(response.Body).Decode(&answer), "decoding")
	return response.StatusCode, answer
}

func TestWrongRequests(t *testing.T) {
	dir := t.TempDir()
	w := &world{store: memstore.New(nil)}
	w.serve(t, dir)
	for _, c := range []struct {
		method, path, body string
		says               string
	}{
		{"GET", "/v9/keys", "", "no such request in version 1"},
		{"DELETE", "/v1/keys", "", "no such request"},
		{"GET", "/v1/keys?limit=x", "", `"x"`},
		{"POST", "/v1/resolve", "{", "cannot be read"},
		{"POST", "/v1/resolve", `{"forse":true}`, `"forse"`},
		{"POST", "/v1/resolve", `{"reason":"` + strings.Repeat("r", maxRequest) + `"}`, "too large"},
	} {
		status, answer := raw(t, dir, c.method, c.path, c.body)
		check.Equal(t, status, 400, "status of %s %s", c.method, c.path)
		check.Equal(t, answer.Code, Wrong, "code of %s %s", c.method, c.path)
		check.True(t, strings.Contains(answer.Text, c.says), "no %q in: %s", c.says, answer.Text)
	}
}

// deadlines is an answer that notes what reading is bounded to.
type deadlines struct {
	http.ResponseWriter

	set []bool
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.set = append(d.set, !at.IsZero())
	return nil
}

func TestBoundOnReadingEndsWithTheRead(t *testing.T) {
	var d deadlines
	b := body{io.NopCloser(strings.NewReader("x")), http.NewResponseController(&d)}
	_, err := b.Read(make([]byte, 1))
	check.NoError(t, err, "Read")
	check.Equal(t, d.set, []bool{true, false}, "whether there is a bound, before and after")
}

// stranger is a process of another version.
func stranger(t *testing.T, handler http.HandlerFunc) *Client {
	t.Helper()
	dir := t.TempDir()
	l, err := listen(dir)
	check.NoError(t, err, "listen")
	s := &http.Server{Handler: handler}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	c, err := Dial(t.Context(), dir)
	check.NoError(t, err, "Dial")
	return c
}

func TestOtherVersionsAreSaid(t *testing.T) {
	c := stranger(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(versionHeader, "2")
		w.WriteHeader(400)
	})
	_, err := c.Stats(t.Context())
	wants(t, err, Unsupported, c.dir, `version "2"`, `"1"`, "use the onceward that")
	wants(t, c.Watch(t.Context(), nil), Unsupported, `version "2"`)
}

func TestStrangeAnswers(t *testing.T) {
	c := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		header(w, "application/json")
		switch r.URL.Path {
		case "/v1/stats":
			w.WriteHeader(500)
		case "/v1/sweep":
			_, _ = io.WriteString(w, "{")
		default:
			panic(http.ErrAbortHandler)
		}
	})
	_, err := c.Stats(t.Context())
	wants(t, err, Unknown, "500")
	_, err = c.Sweep(t.Context())
	wants(t, err, Unknown, "may have happened")
	_, err = c.Resolve(t.Context(), Resolution{})
	wants(t, err, Unknown, c.dir, "may have happened")
	check.True(t, !strings.Contains(err.Error(), "http://"), "an address that means nothing: %v", err)
}

func TestProcessThatEnds(t *testing.T) {
	dir := t.TempDir()
	var events Events
	s, err := Serve(dir, NewDesk(memstore.New(nil), &Options{Events: &events}), slog.Default())
	check.NoError(t, err, "Serve")
	c, err := Dial(t.Context(), dir)
	check.NoError(t, err, "Dial")
	err = c.Watch(t.Context(), func(Event) error { return s.Close() })
	wants(t, err, Unavailable, dir, "has ended")
	_, err = c.Stats(t.Context())
	wants(t, err, Unavailable, dir, "has ended")
}

func TestClientGivesUpWhenItIsTold(t *testing.T) {
	entered := make(chan struct{})
	c := stranger(t, func(_ http.ResponseWriter, r *http.Request) { close(entered); <-r.Context().Done() })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	_, err := c.Stats(ctx)
	var e *Error
	check.True(t, errors.As(err, &e) && strings.Contains(e.Text, "canceled"), "the error: %v", err)
}
