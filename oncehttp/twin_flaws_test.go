package oncehttp_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// flaw is a promise that a twin breaks.
type flaw struct {
	scenario string
	seen     string // in what the scenario says; anything if it is empty
	why      string
}

const (
	twice     = "the handler ran 2 times"
	nothing   = "there is no record of anything"
	errorText = "an error of the store is passed on to the client as 500, with its text"
	noStatus  = "only the body of an answer is stored"
)

// flaws says which promises each twin breaks. It keeps all the others.
var flaws = map[*door][]flaw{
	bareDoor: {
		{"500 at once", "the handler ran 20 times", nothing},
		{"500 that wait", "the handler ran 20 times", nothing},
		{"another request", "want 422", nothing},
		{"asked before the end, told after it", twice, nothing},
		{"ten leases long", "the handler ran 4 times", nothing},
		{"three leases long, and then a failure", "the handler ran 4 times", nothing},
		{"the client leaves", twice, "the client's leaving cancels the work, and nothing is recorded"},
		{"the client asks before it sends the body", twice, nothing},
		{"a body that hardly arrives", "no answer", "the body may take as long as it likes"},
		{"a body that is cut off", "the refusal", "the work begins before its input is there"},
		{"a body that is too large", "want 413", "the body has no bound"},
		{"panic", twice, nothing},
		{"abort", twice, nothing},
		{"goexit", twice, nothing},
		{"failure after the effect", twice, nothing},
		{"hijack", twice, nothing},
		{"timeout inside", "the handler ran 3 times", nothing},
		{"timeout outside", twice, nothing},
		{"the same answer", twice, nothing},
		{"empty answers", twice, nothing},
		{"no content", twice, nothing},
		{"trailers", twice, nothing},
		{"compression outside", "the handler ran 3 times", nothing},
		{"compression inside", twice, nothing},
		{"events", twice, nothing},
		{"a huge answer", twice, nothing},
		{"the store is down", "want 503", "it runs unprotected"},
		{"the store goes down while the handler runs", "the handler ran 3 times", nothing},
		{"a lost reply to the question", "body of the replay", nothing},
		{"no reply to any question", "want 503", "it runs unprotected"},
		{"a lost reply to the outcome", twice, nothing},
		{"no reply to any outcome", twice, nothing},
		{"a damaged answer", twice, nothing},
		{"keys that are none", "want 400", "no key is looked at"},
		{"nobody's key", "the handler ran 1 times", "no key is looked at"},
		{"isolation", "runs of", nothing},
	},
	plainDoor: slices.Concat(flawsOfBoth, []flaw{
		{"500 that wait", "", "only the body is stored, and whoever looks before it is runs: chance decides which shows"},
		{"500 at once", "the handler ran", "it looks, and stores after the work: there is no record while it runs"},
		{"another request", "want 422", "the key is all that is compared, and that after the work only"},
		{"asked before the end, told after it", twice, "it looks, and acts on what it saw then"},
		{"ten leases long", twice, "there is no record while it runs"},
		{"three leases long, and then a failure", "the handler ran 4 times", "neither running nor failing leaves a record"},
	}),
	lockDoor: slices.Concat(flawsOfBoth, []flaw{
		{"500 that wait", "the answer is 200", noStatus},
		{"500 at once", "no answer", "whoever comes meanwhile waits, without a deadline"},
		{"another request", "no answer", "the key is all that is compared, and that after the wait for the lock"},
		{"asked before the end, told after it", twice, "it looks before it has the lock, and not again when it has it"},
		{"ten leases long", twice, "the lock lasts a fixed time, and nobody renews it"},
		{
			"three leases long, and then a failure", "the handler ran 4 times",
			"all locks have the same value: who comes late frees the lock of another, and a failure leaves no record",
		},
		{"a key that looks like the store's own", `the answer is 200 "1"`, "locks and results share their names"},
	}),
}

// flawsOfBoth are those of the naive algorithm with the lock and without it.
var flawsOfBoth = []flaw{
	{"no key", "the handler ran 1 times, want 2", "a missing key is made of the body, so that two equal payments are one"},
	{"the client leaves", twice, "the client's leaving cancels the work, and a failure leaves no record"},
	{"the client asks before it sends the body", "the answer is 200", noStatus},
	{"HEAD", "the handler ran 1 times, want 2", "methods do not count"},
	{"a body that hardly arrives", "no answer", "the body may take as long as it likes"},
	{"a body that is cut off", "the answer is 500", "all errors are 500"},
	{"a body that is too large", "want 413", "the body has no bound"},
	{"panic", twice, "a failure leaves no record, though the effect has happened"},
	{"abort", twice, "a failure leaves no record, though the effect has happened"},
	{"goexit", twice, "a failure leaves no record, though the effect has happened"},
	{"failure after the effect", twice, "a failure leaves no record, though the effect has happened"},
	{"hijack", "feature not supported", "the answer is collected by a writer that can do less"},
	{"timeout inside", twice, "503 counts as a failure, which leaves no record, though the work goes on"},
	{"timeout outside", twice, "giving up cancels the work, and a failure leaves no record"},
	{"the same answer", "the answer is 200", noStatus},
	{"empty answers", "cannot decode", "a result that is false is stored as a word that nobody can decode"},
	{"no content", "cannot decode", "a result that is false is stored as a word that nobody can decode"},
	{"trailers", "Content-Type of the replay", noStatus},
	{"compression outside", "the answer is 200", noStatus},
	{"compression inside", "the answer is 200", noStatus},
	{"events", "have ended before event 0", "the answer is collected before anything is sent"},
	{"a huge answer", "the heap has grown", "results have no bound"},
	{"the store is down", "the answer is 500", errorText},
	{"the store goes down while the handler runs", twice, "a failure to store counts as a failure of the work"},
	{"a lost reply to the question", "the answer is 500", errorText},
	{"no reply to any question", "the answer is 500", errorText},
	{"a lost reply to the outcome", "got: 500", "a failure to store counts as a failure of the work"},
	{"no reply to any outcome", "got: 500", "a failure to store counts as a failure of the work"},
	{"a damaged answer", "the answer is 500", errorText},
	{"the retention ends", `the answer is 200 "null"`, "that there is a result, and which, is read in two steps"},
	{"keys that are none", "want 400", "any text is a key, and a missing one is made up"},
	{"nobody's key", "the handler ran 1 times", "keys belong to nobody"},
	{"isolation", "got the answer", "neither tenant nor method nor path is a part of the key"},
	{"nothing secret is logged", "is in the log", "keys are logged as they are"},
}

// recorder is a test that remembers what failed instead of failing.
type recorder struct {
	testing.TB

	mu       sync.Mutex
	found    []string
	cleanups []func()
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = append(r.found, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// failures runs a scenario against a door and returns what failed.
func failures(t *testing.T, c scenario, d *door) string {
	r := &recorder{TB: t}
	ended := make(chan struct{})
	go func() { // Fatalf ends the goroutine that calls it
		defer close(ended)
		defer func() {
			for i := range r.cleanups {
				r.cleanups[len(r.cleanups)-1-i]()
			}
		}()
		c.run(&trial{TB: r, door: d})
	}()
	<-ended
	return strings.Join(r.found, "\n")
}

// Each twin breaks what its table says, and as it says, so that each scenario is known to be able to fail.
func TestTwins(t *testing.T) {
	fails := make(map[string]bool)
	for d, broken := range flaws {
		want := make(map[string]flaw)
		for _, f := range broken {
			want[f.scenario], fails[f.scenario] = f, true
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range scenarios {
				f, found := want[c.name], failures(t, c, d)
				switch {
				case f.scenario == "" && found != "":
					t.Errorf("%s: no flaw is known, but: %.500s", c.name, found)
				case f.scenario != "" && (found == "" || !strings.Contains(found, f.seen)):
					t.Errorf("%s: %s, want to see %q, got: %.500s", c.name, f.why, f.seen, found)
				}
				delete(want, c.name)
			}
			check.Equal(t, len(want), 0, "flaws that no scenario is about")
		})
	}
	for _, c := range scenarios {
		check.True(t, fails[c.name], "no twin fails %q", c.name)
	}
}
