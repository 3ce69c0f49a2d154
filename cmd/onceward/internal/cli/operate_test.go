package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/control"
	"github.com/onceward/onceward/diskstore"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/oncehttp"
)

// place is a data directory, held by a process that is this one, or by nobody.
type place struct {
	dir   string
	held  *diskstore.Store // nil if nobody holds it
	guard *onceward.Guard
	runs  int // of the service behind the guard
}

func eachWay(t *testing.T, test func(t *testing.T, p *place)) {
	t.Helper()
	t.Run("files", func(t *testing.T) {
		p := &place{dir: filepath.Join(t.TempDir(), "data")}
		p.with(t, func(*diskstore.Store) {}) // makes it
		test(t, p)
	})
	t.Run("socket", func(t *testing.T) {
		p := &place{dir: filepath.Join(t.TempDir(), "data")}
		p.hold(t)
		test(t, p)
	})
}

func openDisk(t *testing.T, dir string) *diskstore.Store {
	t.Helper()
	store, err := diskstore.Open(dir, &diskstore.Options{FreeSpaceFloor: -1, Ballast: -1})
	check.NoError(t, err, "opening the store")
	return store
}

// hold makes this process the one that holds the directory.
func (p *place) hold(t *testing.T) {
	t.Helper()
	var events control.Events
	p.held = openDisk(t, p.dir)
	guard, err := onceward.New(p.held, &onceward.Options{Node: "node-1", Trace: events.Trace})
	check.NoError(t, err, "New")
	p.guard = guard
	desk := control.NewDesk(p.held, &control.Options{Trace: guard.Trace, Events: &events})
	server, err := control.Serve(p.dir, desk, slog.New(slog.DiscardHandler))
	check.NoError(t, err, "Serve")
	t.Cleanup(func() {
		check.NoError(t, server.Close(), "closing the socket")
		check.NoError(t, guard.Close(context.Background()), "closing the guard")
		check.NoError(t, p.held.Close(), "closing the store")
	})
}

// with lets use work with the store.
func (p *place) with(t *testing.T, use func(*diskstore.Store)) {
	t.Helper()
	if p.held != nil {
		use(p.held)
		return
	}
	store := openDisk(t, p.dir)
	use(store)
	check.NoError(t, store.Close(), "closing the store")
}

// response is what a client gets.
type response struct {
	status int
	header http.Header
	body   string
}

// post sends a guarded request. How the key begins says what becomes of it: i-doubt, large, or anything else for an answer.
func (p *place) post(t *testing.T, key string) (got response) {
	t.Helper()
	p.with(t, func(store *diskstore.Store) {
		guard := p.guard
		if guard == nil {
			var err error
			guard, err = onceward.New(store, &onceward.Options{Node: "node-1"})
			check.NoError(t, err, "New")
			defer func() { check.NoError(t, guard.Close(context.Background()), "closing the guard") }()
		}
		service := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			p.runs++
			switch name, _, _ := strings.Cut(key, " "); name {
			case "i-doubt":
				w.Header().Set("Idempotency-Control", "in-doubt")
			case "large":
				w.Header().Set("Idempotency-Control", "no-store")
			}
			w.Header().Set("Location", "/orders/1")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, "a secret answer")
		})
		r := httptest.NewRequest(http.MethodPost, "/orders", nil)
		r.Header.Set("Idempotency-Key", `"`+key+`"`)
		w := httptest.NewRecorder()
		oncehttp.New(guard, oncehttp.SingleTenant, nil)(service).ServeHTTP(w, r)
		got = response{w.Code, w.Header(), w.Body.String()}
	})
	return got
}

// begin makes a key that runs, or whose lease is over without a word.
func (p *place) begin(t *testing.T, operation string, lease time.Duration) (id driver.ID) {
	t.Helper()
	key := onceward.Key{Scope: "s", Operation: operation, Value: "k"}
	p.with(t, func(store *diskstore.Store) {
		_, err := store.Acquire(t.Context(), key.ID(), driver.Claim{
			OnCrash: driver.Hold, MaxAttempts: 5, MaxExecution: time.Minute, Lease: lease, Retain: time.Hour, DoubtRetain: time.Hour,
			Labels: driver.Labels{Operation: operation}, Note: driver.Note{Node: "node-2"},
		})
		check.NoError(t, err, "Acquire")
		for lease < time.Second { // until it is over
			r, err := store.Get(t.Context(), key.ID())
			check.NoError(t, err, "Get")
			if r.InDoubt() {
				break
			}
		}
	})
	return key.ID()
}

// run runs a command on the place.
func (p *place) run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	return operate(t, append(args, "--store", p.dir)...)
}

// ok is run of what succeeds, and warns of nothing.
func (p *place) ok(t *testing.T, args ...string) (out string) {
	t.Helper()
	code, out, errs := p.run(t, args...)
	check.Equal(t, code, 0, "exit code of %q, which says %s", args, errs)
	check.Equal(t, errs, "", "what %q warns of", args)
	return out
}

// id is that of the only key in a state.
func (p *place) id(t *testing.T, state string) string {
	t.Helper()
	id := strings.TrimSpace(p.ok(t, "keys", "list", "-q", "--state", state))
	check.Equal(t, len(id), 64, "digits of %q", id)
	return id
}

func operate(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = Main(t.Context(), args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// holds checks that a text holds all of some others.
func holds(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		check.True(t, strings.Contains(text, word), "no %q in: %s", word, text)
	}
}

func decoded[T any](t *testing.T, text string) (v T) {
	t.Helper()
	check.NoError(t, json.Unmarshal([]byte(text), &v), "decoding %s", text)
	return v
}

func TestWrongOperationsAreExplained(t *testing.T) {
	id := strings.Repeat("ab", 32)
	resolve := []string{"keys", "resolve", id}
	for _, c := range [...]struct {
		args []string
		says []string
	}{
		{[]string{"keys", "lst"}, []string{`"lst"`, "list", "find", "get", "resolve", "watch"}},
		{[]string{"key", "make"}, []string{`"make"`, "new", "derive"}},
		{[]string{"keys", "list", "all"}, []string{`"all"`}},
		{[]string{"keys", "list", "--state", "lost"}, []string{"--state", `"lost"`, "running", "in-doubt", "done"}},
		{[]string{"keys", "list", "--limit", "0"}, []string{"--limit", `"0"`, "10000"}},
		{[]string{"keys", "list", "--limit", "10001"}, []string{"--limit", `"10001"`, "10000"}},
		{[]string{"keys", "list", "--stat", "done"}, []string{"unknown flag: --stat", "did you mean --state?"}},
		{[]string{"keys", "list", "-q", "--json"}, []string{"quiet", "json"}},
		{[]string{"keys", "list", "--store", "memory:"}, []string{"--store memory:", "in the memory of the process", "--store DIR"}},
		{[]string{"keys", "list", "--store", "nats://u:secret@a"}, []string{"--store", "nats://u:", "directory"}},
		{[]string{"keys", "find"}, []string{"KEY is missing"}},
		{[]string{"keys", "find", ""}, []string{`""`, "empty"}},
		{[]string{"keys", "get"}, []string{"ID is missing", "keys list"}},
		{[]string{"keys", "get", "abc"}, []string{`"abc"`, "8 hexadecimal digits"}},
		{[]string{"keys", "get", id, id}, []string{"unexpected", id}},
		{[]string{"keys", "resolve"}, []string{"ID is missing"}},
		{append(resolve, "--reason", "r"), []string{"--done", "--release"}},
		{append(resolve, "--reason", "r", "--done", "--release"), []string{"--done", "--release"}},
		{append(resolve, "--done"), []string{"--reason is missing"}},
		{append(resolve, "--done", "--reason", " "), []string{"--reason", `" "`}},
		{append(resolve, "--done", "--reason", "a\nb"), []string{"--reason", "line"}},
		{append(resolve, "--release", "--reason", "r", "--status", "201"), []string{"--status", "--done"}},
		{append(resolve, "--done", "--reason", "r", "--status", "99"), []string{"--status", `"99"`, "201"}},
		{append(resolve, "--done", "--reason", "r", "--header", "Location: /x"), []string{"--status is missing"}},
		{append(resolve, "--done", "--reason", "r", "--status", "201", "--header", "Location"), []string{"--header", "NAME: VALUE"}},
		{append(resolve, "--done", "--reason", "r", "--status", "201", "--header", "Set-Cookie: a=b"), []string{"--header", "not replayed"}},
		{append(resolve, "--done", "--reason", "r", "--status", "201", "--header", "Content-Length: 1"), []string{"--header", "no length"}},
		{append(resolve, "--done", "--reason", "r", "--status", "201", "--body", "x"), []string{"Content-Type", "is missing"}},
		{
			append(resolve, "--done", "--reason", "r", "--status", "204", "--header", "Content-Type: text/plain", "--body", "keys.go"),
			[]string{"--status 204", "no body"},
		},
		{append(resolve, "--done", "--reason", "r", "--fence", "0"), []string{"--fence", `"0"`, "at least 1"}},
		{[]string{"key", "new", "x"}, []string{`"x"`}},
		{[]string{"key", "new", "--prefix", "a,b"}, []string{"--prefix", `"a,b"`, "comma"}},
		{[]string{"key", "derive"}, []string{"FILE is missing"}},
		{[]string{"backup", "a"}, []string{"TARGET is missing"}},
		{[]string{"backup", "a", "a/b"}, []string{"TARGET", `"a/b"`, "inside DIR"}},
		{[]string{"sweep", "now"}, []string{`"now"`}},
		{[]string{"stats", "now"}, []string{`"now"`}},
	} {
		code, out, errs := operate(t, c.args...)
		check.Equal(t, code, 2, "exit code of %q, which says %s%s", c.args, out, errs)
		check.Equal(t, out, "", "what %q prints to stdout", c.args)
		holds(t, errs, append(c.says, "--help")...)
		check.True(t, !strings.Contains(errs, "secret"), "%q: a password is shown: %s", c.args, errs)
	}
	for _, c := range [...]struct {
		args []string
		says []string
	}{
		{[]string{"key", "derive", "no-such-file"}, []string{"no-such-file"}},
		{[]string{"key", "derive", "key.go"}, []string{"key.go", "no key can be derived"}},
		{
			append(resolve, "--done", "--reason", "r", "--status", "200", "--header", "Content-Type: a/b", "--body", "no-such-file"),
			[]string{"--body", "no-such-file"},
		},
	} {
		code, _, errs := operate(t, c.args...)
		check.Equal(t, code, 1, "exit code of %q, which says %s", c.args, errs)
		holds(t, errs, c.says...)
	}
}

// Opening a directory would make it a store.
func TestDirectoryWithoutDataIsNotMadeOne(t *testing.T) {
	empty := t.TempDir()
	for _, dir := range []string{empty, filepath.Join(empty, "none")} {
		code, _, errs := operate(t, "keys", "list", "--store", dir)
		check.Equal(t, code, 1, "exit code")
		holds(t, errs, "--store "+dir, "no data")
	}
	inside, err := os.ReadDir(empty)
	check.NoError(t, err, "ReadDir")
	check.Equal(t, len(inside), 0, "what was made: %v", inside)
}

func TestHeldWithoutASocket(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	store := openDisk(t, dir)
	code, _, errs := operate(t, "keys", "list", "--store", dir)
	check.Equal(t, code, 1, "exit code")
	holds(t, errs, "in use", "control socket")

	// Nor does a socket that was left change that, or keep anybody out when the process is gone.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "control.sock"), Net: "unix"})
	check.NoError(t, err, "Listen")
	l.SetUnlinkOnClose(false)
	check.NoError(t, l.Close(), "Close")
	code, _, errs = operate(t, "keys", "list", "--store", dir)
	check.Equal(t, code, 1, "exit code with a socket that was left")
	holds(t, errs, "in use")
	check.NoError(t, store.Close(), "Close")
	code, out, errs := operate(t, "keys", "list", "--store", dir)
	check.Equal(t, code, 0, "exit code when it is closed, which says %s", errs)
	check.Equal(t, out, "no keys\n", "the list")
}

func TestWordsForTheShell(t *testing.T) {
	for text, want := range map[string]string{
		"/var/lib/a-b_c.d": "/var/lib/a-b_c.d", "": "''", "a b": "'a b'", "it's": `'it'\''s'`, "$HOME": "'$HOME'", "~": "'~'",
	} {
		check.Equal(t, shellWord(text), want, "%q", text)
	}
}
