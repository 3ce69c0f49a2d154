package cli

import (
	"io"
	"net/http"
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
)

// doubt is a key that the service leaves in doubt.
const doubt = "i-doubt 0123456789"

func TestResolveDone(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		retry := p.post(t, doubt)
		check.Equal(t, retry.status, 409, "status of a retry before")
		holds(t, retry.body, `"in-doubt"`)

		id := p.id(t, "in-doubt")
		out := p.ok(t, "keys", "resolve", id[:12], "--done", "--reason", "the bank has it")
		holds(t, out, id, "POST /orders", "in-doubt, began", "1, fence 1", "node-1", "a retry is refused with 409 outcome-not-stored")
		retry = p.post(t, doubt)
		check.Equal(t, retry.status, 409, "status of a retry")
		holds(t, retry.body, `"outcome-not-stored"`, `"reason":"resolved"`)
		check.Equal(t, p.runs, 1, "runs")
		record := decoded[control.Record](t, p.ok(t, "keys", "get", id, "--json"))
		check.Equal(t, record.Reason, "the bank has it", "the reason that is kept")
		check.True(t, strings.HasPrefix(record.Actor, "cli:"), "the actor: %q", record.Actor)
		check.Equal(t, record.Tombstone, &control.Tombstone{Reason: "resolved"}, "the tombstone")
	})
}

func TestResolveRelease(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		out := p.ok(t, "keys", "resolve", p.id(t, "in-doubt"), "--release", "--reason", "the bank never saw it")
		holds(t, out, "free", "the next request with this key runs")
		p.post(t, doubt)
		check.Equal(t, p.runs, 2, "runs")
	})
}

func TestResolveWithAnAnswer(t *testing.T) {
	body := filepath.Join(t.TempDir(), "body.json")
	check.NoError(t, os.WriteFile(body, []byte(`{"id":12}`), 0o600), "WriteFile")
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		out := p.ok(t, "keys", "resolve", p.id(t, "in-doubt"), "--done", "--reason", "order 12", "--status", "201",
			"--header", "location: /orders/12", "--header", "Content-Type: application/json", "--body", body)
		holds(t, out, "a retry gets this answer, status 201")
		retry := p.post(t, doubt)
		check.Equal(t, retry.status, 201, "status of a retry")
		check.Equal(t, retry.header.Get("Location"), "/orders/12", "location")
		check.Equal(t, retry.header.Get("Content-Type"), "application/json", "type")
		check.Equal(t, retry.header.Get("Idempotent-Replayed"), "true", "whether it is a replay")
		check.Equal(t, retry.body, `{"id":12}`, "body")
		check.Equal(t, p.runs, 1, "runs")
	})
}

func TestBodyFromTheStandardInput(t *testing.T) {
	read, write, err := os.Pipe()
	check.NoError(t, err, "Pipe")
	stdin := os.Stdin
	os.Stdin = read
	defer func() { os.Stdin = stdin; _ = read.Close() }()
	_, err = io.WriteString(write, "made")
	check.NoError(t, err, "writing")
	check.NoError(t, write.Close(), "Close")
	p := &place{dir: filepath.Join(t.TempDir(), "data")}
	p.post(t, doubt)
	p.ok(t, "keys", "resolve", p.id(t, "in-doubt"), "--done", "--reason", "r", "--status", "200", "--header", "Content-Type: text/plain",
		"--body", "-")
	check.Equal(t, p.post(t, doubt).body, "made", "body")
}

func TestResolveOfAKeyThatHasGoneOn(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		running := p.begin(t, "refund", time.Hour).String()
		code, _, _ := p.run(t, "keys", "resolve", running, "--done", "--force", "--reason", "r")
		check.Equal(t, code, 0, "exit code")
		code, out, errs := p.run(t, "keys", "resolve", running, "--release", "--force", "--reason", "r", "--fence", "1")
		check.Equal(t, code, 1, "exit code with the fence it had")
		check.Equal(t, out, "", "what is printed")
		holds(t, errs, "is done and has fence 2, not the 1", "gone on", "onceward keys get")
	})
}

func TestResolveEndsWhileItReads(t *testing.T) {
	read, write, err := os.Pipe() // as a terminal on which nobody types
	check.NoError(t, err, "Pipe")
	defer write.Close()
	p := &place{dir: filepath.Join(t.TempDir(), "data")}
	p.post(t, doubt)
	id := p.id(t, "in-doubt")
	stdin := os.Stdin
	os.Stdin = read
	defer func() { os.Stdin = stdin }()
	for _, args := range [][]string{
		{"keys", "resolve", id, "--done", "--reason", "r", "--status", "200", "--header", "Content-Type: a/b", "--body", "-", "--store", p.dir},
		{"key", "derive", "-"},
	} {
		code, out, errs := run(args...)
		check.Equal(t, code, 1, "exit code of %q", args)
		check.Equal(t, out, "", "what it prints")
		holds(t, errs, "-: it had not come to its end: context canceled")
	}
	check.Equal(t, p.id(t, "in-doubt"), id, "what is in doubt afterwards")
}

func TestAnswersThatAreHardlyMeantAreWarnedOf(t *testing.T) {
	large := strings.Repeat(" ", maxOutcome-1)
	for _, c := range [...]struct {
		kind, body, says string
	}{
		{"application/json", `{"id":12}`, ""},
		{"application/json", large + "1", ""},
		{"application/json", large + "12", "1048577 bytes"},
		{"application/json; charset=utf-8", "", "empty"},
		{"application/problem+json", "{", "no JSON"},
		{"text/plain", "", ""},
		{"text/plain", "{", ""},
	} {
		p := &reply{header: http.Header{"Content-Type": {c.kind}}, content: []byte(c.body)}
		got := strings.Join(p.warnings(), "\n")
		check.True(t, (got == "") == (c.says == "") && strings.Contains(got, c.says), "%s %.9q: warnings: %s", c.kind, c.body, got)
	}
	p := &place{dir: filepath.Join(t.TempDir(), "data")}
	p.post(t, doubt)
	code, _, errs := p.run(t, "keys", "resolve", p.id(t, "in-doubt"), "--done", "--reason", "r", "--status", "200",
		"--header", "Content-Type: application/json", "--body", os.DevNull)
	check.Equal(t, code, 0, "exit code")
	check.Equal(t, errs, "warning: the body is empty, which is no JSON as Content-Type says\n", "what it says")
}

func TestResolveJSON(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		id := p.id(t, "in-doubt")
		got := decoded[map[string]control.Record](t, p.ok(t, "keys", "resolve", id, "--release", "--reason", "r", "--json"))
		check.Equal(t, got["before"].ID+got["before"].State, id+"in-doubt", "before")
		check.Equal(t, got["after"].ID+got["after"].State, id+"absent", "after")
	})
}

func TestResolveOfWhatIsNotInDoubt(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		p.post(t, "done 01234567890")
		running := p.begin(t, "refund", time.Hour).String()
		for name, c := range map[string]struct {
			args []string
			says []string
		}{
			"running": {[]string{running, "--done"}, []string{"not in doubt", "An attempt runs", "--force"}},
			"done":    {[]string{p.id(t, "done"), "--done"}, []string{"not in doubt", "its answer is kept", "--force"}},
			"a fence to come": {
				[]string{p.id(t, "in-doubt"), "--done", "--fence", "3"},
				[]string{"fence 1, and no attempt of it has had the 3", "onceward keys get"},
			},
			"forced, a fence to come": {
				[]string{running, "--done", "--force", "--fence", "3"}, []string{"is running and has fence 1", "the 3"},
			},
			"not HTTP": {[]string{running, "--done", "--status", "200"}, []string{`"refund"`, "Guard.ResolveResult"}},
			"absent":   {[]string{strings.Repeat("0", 64), "--done"}, []string{"no key with the id"}},
		} {
			code, out, errs := p.run(t, append([]string{"keys", "resolve", "--reason", "r"}, c.args...)...)
			check.Equal(t, code, 1, "exit code: %s", name)
			check.Equal(t, out, "", "what is printed: %s", name)
			holds(t, errs, c.says...)
		}
		check.Equal(t, p.id(t, "running"), running, "what runs afterwards")
		p.id(t, "in-doubt")
	})
}

func TestResolveWarnsOfOwnersThatMayLive(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		over := p.begin(t, "charge", time.Millisecond).String()
		code, _, errs := p.run(t, "keys", "resolve", over, "--done", "--reason", "r", "--fence", "1")
		check.Equal(t, code, 0, "exit code")
		holds(t, errs, "warning: node-2 gave its last sign of life", "stand still")
		check.True(t, !strings.Contains(errs, "twice"), "a key that does not run again: %s", errs)

		code, _, errs = p.run(t, "keys", "resolve", over, "--done", "--reason", "r", "--force")
		check.Equal(t, code, 0, "exit code")
		holds(t, errs, "warning: it was done")

		running := p.begin(t, "refund", time.Hour).String()
		code, out, errs := p.run(t, "keys", "resolve", running, "--release", "--reason", "r", "--force")
		check.Equal(t, code, 0, "exit code")
		holds(t, errs, "warning: node-2 holds the key for another ", "takes effect twice")
		holds(t, out, "running, began")
	})
}

func TestOldLeasesAreNotWarnedOf(t *testing.T) {
	f := &resolver{}
	for left, want := range map[time.Duration]int{-time.Second: 1, -alive + time.Second: 1, -alive: 0, -time.Hour: 0} {
		r := control.Record{State: "in-doubt", LeaseLeft: control.Seconds(left)}
		check.Equal(t, len(f.warnings(&r)), want, "warnings for a lease of %v", left)
	}
	check.Equal(t, len(f.warnings(&control.Record{State: "in-doubt", GivenUp: true})), 0, "warnings for one that was given up")
}

// A record of Do can be ended, but its result has a form of its own.
func TestResolveOfARecordOfDo(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		id := p.begin(t, "charge", time.Millisecond)
		code, out, _ := p.run(t, "keys", "resolve", id.String(), "--done", "--reason", "r")
		check.Equal(t, code, 0, "exit code")
		holds(t, out, "refused with ErrNotStored")
		p.with(t, func(store *diskstore.Store) {
			r, err := store.Get(t.Context(), id)
			check.NoError(t, err, "Get")
			check.Equal(t, r.Outcome.Kind, driver.Tombstone, "the outcome")
		})
	})
}

func TestOwnerWhoLostIsTold(t *testing.T) {
	p := &place{dir: t.TempDir()}
	p.hold(t)
	key := onceward.Key{Scope: "s", Operation: "charge", Value: "k"}
	fingerprint, err := onceward.FingerprintJSON([]byte("{}"))
	check.NoError(t, err, "FingerprintJSON")
	attempt, err := p.guard.Begin(t.Context(), key, nil, fingerprint)
	check.NoError(t, err, "Begin")
	code, _, errs := p.run(t, "keys", "resolve", key.ID().String(), "--done", "--force", "--reason", "r")
	check.Equal(t, code, 0, "exit code, which says %s", errs)
	check.ErrorIs(t, attempt.Complete([]byte("x")), onceward.ErrLeaseLost, "Complete of the owner")
}
