package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/control"
	"github.com/onceward/onceward/diskstore"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

func TestKeysList(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		for state, want := range map[string]string{
			"in-doubt": "no keys in doubt\n", "running": "no running keys\n", "done": "no keys that are done\n",
		} {
			check.Equal(t, p.ok(t, "keys", "list", "--state", state), want, "a list of nothing")
		}
		check.Equal(t, p.ok(t, "keys", "list", "--operation", "charge"), "no keys of charge\n", "a list of nothing")
		check.Equal(t, p.ok(t, "keys", "list", "--json"), "[]\n", "a JSON list of nothing")
		check.Equal(t, p.ok(t, "keys", "list", "-q"), "", "ids of nothing")

		p.post(t, doubt)
		p.post(t, "done 01234567890")
		running := p.begin(t, "charge", time.Hour)
		out := p.ok(t, "keys", "list")
		lines := strings.Split(strings.TrimSpace(out), "\n")
		check.Equal(t, len(lines), 4, "lines of %s", out)
		check.Equal(t, strings.Fields(lines[0]),
			[]string{"ID", "STATE", "OPERATION", "KEY", "ATTEMPT", "FENCE", "AGE", "NODE", "REASON"}, "the head")
		doubt := p.ok(t, "keys", "list", "--state", "in-doubt")
		holds(t, doubt, p.id(t, "in-doubt")[:12]+"  in-doubt  POST /orders  i-do…  1        1      ", "  node-1")
		check.True(t, !strings.Contains(out, "0123456789"), "a key is shown: %s", out)

		records := decoded[[]control.Record](t, p.ok(t, "keys", "list", "--operation", "charge", "--json"))
		check.Equal(t, len(records), 1, "records")
		check.Equal(t, records[0].ID+records[0].State, running.String()+"running", "the record")
		check.Equal(t, p.id(t, "running"), running.String(), "the id")

		code, out, errs := p.run(t, "keys", "list", "--limit", "2")
		check.Equal(t, code, 0, "exit code")
		check.Equal(t, strings.Count(out, "\n"), 3, "lines of %s", out)
		check.Equal(t, errs, "only the oldest 2 of 3 are shown; --limit shows more\n", "what it says")
	})
}

// A loop of a script takes what it gets for all there is, and stats sends whoever asks for the oldest doubt to the list.
func TestListsOfManyKeys(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		const all = 103
		var ids []string // oldest first
		p.with(t, func(store *diskstore.Store) {
			for i := range all {
				id, err := acquire(store, i)
				check.NoError(t, err, "Acquire")
				ids = append(ids, id.String())
			}
		})
		check.Equal(t, strings.Fields(p.ok(t, "keys", "list", "-q")), ids, "the ids")
		records := decoded[[]control.Record](t, p.ok(t, "keys", "list", "--json"))
		check.True(t, len(records) == all && records[0].ID == ids[0], "%d records, the first is %s", len(records), records[0].ID)

		code, out, errs := p.run(t, "keys", "list")
		check.Equal(t, code, 0, "exit code")
		check.Equal(t, errs, "only the oldest 100 of 103 are shown; --limit shows more\n", "what it says")
		lines := strings.Split(out, "\n")
		check.Equal(t, len(lines), 1+100+1, "lines of %s", out)
		check.Equal(t, lines[1][:12]+lines[100][:12], ids[0][:12]+ids[99][:12], "the first and the last")
	})
}

func TestScriptsAreToldOfWhatIsNotListed(t *testing.T) {
	p := &place{dir: t.TempDir()}
	p.hold(t)
	const writers = 73
	var acquired sync.WaitGroup
	failures := make([]error, control.MaxLimit+1)
	for w := range writers {
		acquired.Go(func() {
			for i := w; i < len(failures); i += writers {
				_, failures[i] = acquire(p.held, i)
			}
		})
	}
	acquired.Wait()
	check.NoError(t, errors.Join(failures...), "Acquire")
	for _, c := range [...]struct {
		args []string
		code int
		says string
	}{
		{[]string{"-q"}, 1, "onceward: only 10000 of more than 10000 are shown, not the oldest; if that will do, say --limit 10000\n"},
		{[]string{"-q", "--limit", "10000"}, 0, "only 10000 of more than 10000 are shown, not the oldest\n"},
		{[]string{"-q", "--limit", "3"}, 0, "only 3 of more than 10000 are shown, not the oldest; --limit shows more\n"},
	} {
		code, out, errs := p.run(t, append([]string{"keys", "list"}, c.args...)...)
		check.Equal(t, code, c.code, "exit code of %q", c.args)
		check.Equal(t, errs, c.says, "what %q says", c.args)
		check.True(t, strings.Contains(errs, fmt.Sprintf("only %d of", strings.Count(out, "\n"))), "%q: %d ids", c.args, strings.Count(out, "\n"))
	}
}

// acquire makes one key of many.
func acquire(store *diskstore.Store, number int) (driver.ID, error) {
	id := onceward.Key{Scope: "s", Operation: "charge", Value: strconv.Itoa(number)}.ID()
	_, err := store.Acquire(context.Background(), id, driver.Claim{
		Owner: driver.Owner{1}, OnCrash: driver.Hold, MaxAttempts: 5, MaxExecution: time.Minute, Lease: time.Hour, Retain: time.Hour,
		DoubtRetain: time.Hour,
	})
	return id, err
}

// What scripts rely on.
func TestKeysListJSON(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		records := decoded[[]map[string]any](t, p.ok(t, "keys", "list", "--json"))
		check.Equal(t, len(records), 1, "records")
		r := records[0]
		check.Equal(t, len(r["id"].(string)), 64, "digits of the id")
		for name, want := range map[string]any{
			"state": "in-doubt", "operation": "POST /orders", "attempt": 1.0, "fence": 1.0, "key_hint": "i-do…", "on_crash": "hold",
			"node": "node-1", "given_up": true,
		} {
			check.Equal(t, r[name], want, "%s", name)
		}
		for _, name := range []string{"age", "lease_left", "expires_in"} {
			_, number := r[name].(float64)
			check.True(t, number, "%s is %v", name, r[name])
		}
		check.True(t, r["expires_in"].(float64) > 86_400 && r["age"].(float64) < 3_600, "seconds: %v %v", r["expires_in"], r["age"])
	})
}

func TestKeysFind(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, "done 01234567890")
		holds(t, p.ok(t, "keys", "find", "done 01234567890"), "POST /orders", "done…")
		holds(t, p.ok(t, "keys", "find", "done"), "no such key", "without the quotes")
		check.Equal(t, p.ok(t, "keys", "find", "done", "--json"), "[]\n", "a JSON list of nothing")
		check.Equal(t, p.ok(t, "keys", "find", "-q", "done 01234567890"), p.id(t, "done")+"\n", "the id")
	})
}

func TestKeysGetExplains(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, doubt)
		p.post(t, "done 01234567890")
		id := p.id(t, "in-doubt")
		holds(t, p.ok(t, "keys", "get", id[:8]), id, "Its owner gave it up", "node-1", "POST /orders", "attempt        1\n",
			"Nobody is left who can say", "onceward keys resolve "+id[:12]+" --done --reason TEXT --store "+p.dir,
			"onceward keys resolve "+id[:12]+" --release --reason TEXT", "409 outcome-not-stored")
		done := p.ok(t, "keys", "get", p.id(t, "done"))
		holds(t, done, "answer", "a retry gets it, for another ")
		check.True(t, !strings.Contains(done, "secret"), "an answer is shown: %s", done)
		record := decoded[control.Record](t, p.ok(t, "keys", "get", id, "--json"))
		check.Equal(t, record.ID+record.State, id+"in-doubt", "the record")

		over := p.begin(t, "charge", time.Millisecond).String()
		holds(t, p.ok(t, "keys", "get", over), "lease", "over for", "The lease of its owner was over", "log of node-2")
		running := p.begin(t, "refund", time.Hour).String()
		holds(t, p.ok(t, "keys", "get", running), " left", "the lease is over in ", "There is nothing to do")

		code, out, errs := p.run(t, "keys", "get", strings.Repeat("0", 64))
		check.Equal(t, code, 1, "exit code for a key that is not there")
		check.Equal(t, out, "", "what it prints")
		holds(t, errs, "no key with the id 0000", "onceward keys list")
	})
}

func TestKeysGetOfAnAnswerThatWasNotKept(t *testing.T) {
	eachWay(t, func(t *testing.T, p *place) {
		p.post(t, "large 0123456789")
		holds(t, p.ok(t, "keys", "get", p.id(t, "done")), "tombstone", "no-store", "201", "/orders/1", "409 outcome-not-stored")
	})
}

func TestKeysWatch(t *testing.T) {
	p := &place{dir: t.TempDir()}
	p.hold(t)
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	ended := make(chan int, 1)
	var errs bytes.Buffer
	go func() { ended <- Main(ctx, []string{"keys", "watch", "--store", p.dir}, write, &errs) }()
	line := func() string {
		var text []byte
		for b := make([]byte, 1); len(text) == 0 || text[len(text)-1] != '\n'; {
			_, err := io.ReadFull(read, b)
			check.NoError(t, err, "reading")
			text = append(text, b...)
		}
		return string(text)
	}
	holds(t, line(), "watching")
	p.post(t, doubt)
	holds(t, line(), "acquired", "i-do…", "POST /orders", "attempt=1 fence=1")
	holds(t, line(), "given-up")
	go func() {
		_, _, _ = p.run(t, "keys", "resolve", p.id(t, "in-doubt"), "--release", "--reason", "the bank never saw it")
	}()
	holds(t, line(), "resolved", "the bank never saw it")
	cancel()
	check.Equal(t, <-ended, 0, "exit code")
	check.Equal(t, errs.String(), "", "what it says")
}

func TestKeysWatchJSON(t *testing.T) {
	p := &place{dir: t.TempDir()}
	p.hold(t)
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	ended := make(chan int, 1)
	go func() { ended <- Main(ctx, []string{"keys", "watch", "--json", "--store", p.dir}, write, io.Discard) }()
	text := make([]byte, 1_000)
	n, err := read.Read(text)
	check.NoError(t, err, "reading")
	check.Equal(t, decoded[control.Event](t, string(text[:n])).Step, "watching", "the first event")
	cancel()
	check.Equal(t, <-ended, 0, "exit code")
}

func TestNothingToWatchInFiles(t *testing.T) {
	p := &place{dir: t.TempDir()}
	p.post(t, "done")
	code, out, errs := p.run(t, "keys", "watch")
	check.Equal(t, code, 1, "exit code")
	check.Equal(t, out, "", "what it prints")
	holds(t, errs, "no process", "onceward proxy")
}

func TestTablesObeyNobody(t *testing.T) {
	var out bytes.Buffer
	recordTable(&out, []control.Record{{
		ID: strings.Repeat("a", 64), Operation: "\x1b[31m\t" + strings.Repeat("x", 100), Reason: "a\nb", Node: "ü",
	}})
	recordFields(&out, &control.Record{Operation: "\x1b[2J", Tombstone: &control.Tombstone{Location: "\r"}})
	check.True(t, !strings.ContainsAny(out.String(), "\x1b\t\r"), "%q", out.String())
	check.Equal(t, strings.Count(out.String(), "a\uFFFDb"), 1, "the reason in %q", out.String())
	check.Equal(t, strings.Count(out.String(), "xxx…"), 1, "the end of the operation in %q", out.String())
	check.NoError(t, printEvent(&out, &control.Event{Step: "missed", Error: "\x1b", Missed: 3}), "printEvent")
	check.True(t, !strings.Contains(out.String(), "\x1b"), "%q", out.String())
	holds(t, out.String(), "(3 events before this were missed)")
}

func TestAttemptsAreCountedToTheLastThatCanCome(t *testing.T) {
	for want, r := range map[string]control.Record{
		" attempt 2 of at most 5 fence ": {State: "running", OnCrash: "rerun", Attempt: 2, MaxAttempts: 5},
		" attempt 2 fence ":              {State: "done", OnCrash: "rerun", Attempt: 2, MaxAttempts: 5},
		" attempt 1 fence ":              {State: "in-doubt", OnCrash: "hold", Attempt: 1, MaxAttempts: 5},
	} {
		var out bytes.Buffer
		recordFields(&out, &r)
		holds(t, strings.Join(strings.Fields(out.String()), " "), want)
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0ms", 250 * time.Millisecond: "250ms", 12 * time.Second: "12s", 450 * time.Second: "7m30s",
		125 * time.Minute: "2h5m", 76 * time.Hour: "3d4h", 10 * 365 * 24 * time.Hour: "3650d0h",
	} {
		check.Equal(t, span(control.Seconds(d)), want, "%v", d)
	}
}
