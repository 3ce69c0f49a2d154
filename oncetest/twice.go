// Package oncetest tests that an HTTP endpoint may be retried: it sends a request again in the ways in which networks and
// clients do, and compares the answers.
//
//	func TestPaymentsMayBeRetried(t *testing.T) {
//		bank := new(Bank)
//		request := httptest.NewRequest("POST", "/payments", strings.NewReader(`{"amount": 12}`))
//		oncetest.Twice(t, newService(bank), request, &oncetest.Options{Effects: bank.Charges})
//	}
//
// It knows nothing but HTTP and the header field Idempotency-Key, so it tests whatever implements it, in whatever
// language: for a service that runs elsewhere pass an httputil.ReverseProxy to it as the handler.
//
// A failure is a bug that customers would find. Success means less: the ways tried here are the common ones, in one
// process, and nothing crashes.
package oncetest

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"testing"
	"time"
)

// Options say what may differ. Zero fields mean the documented defaults.
type Options struct {
	// Effects counts what the operation does, such as rows of a ledger or calls that a fake bank received. It must have
	// grown by exactly one for each key, however often the key was sent. Without it Twice only sees answers, and a handler
	// that charges twice and answers once looks right. It is called while no request is in flight. Defaults to nil.
	Effects func() int
	// IgnoreHeaders may differ between an answer and its replay, besides those that describe the connection, the moment or
	// the session, such as Date and Set-Cookie. Defaults to none.
	IgnoreHeaders []string
	// UnmarkedReplays accepts replays without "Idempotent-Replayed: true". Without Effects, almost nothing then tells a
	// replay from a second run with the same answer. Defaults to false.
	UnmarkedReplays bool
	// KeyHeader is the field that carries the key. Defaults to Idempotency-Key.
	KeyHeader string
	// NewKey makes the keys, each of which must be new to the service. Defaults to random UUIDs or, if the request has a
	// key, to that key with something random in front.
	NewKey func() string
	// Concurrent is how many clients send the same request at once. Defaults to 8.
	Concurrent int
	// Timeout bounds each exchange, and how long a client goes on asking while it is told 409 because the operation is in
	// progress. Defaults to 10 s.
	Timeout time.Duration
}

// Twice carries the request's operation out five times, each time with a fresh key for which it asks more than once:
//
//   - once and again: the retry must get the same status, header and body as the first answer, marked as a replay;
//   - at once: of several clients one gets the answer, the others get its replay, or 409 until there is one;
//   - with a client that leaves: when its request was read, halfway, or without reading the answer. Its retry gets the
//     answer, 409 until there is one.
//
// The request is sent byte for byte over TCP on the loopback interface, and must be one that the handler can carry out any
// number of times: one that creates the user "bob" is refused the second time, whatever its key. Its body is consumed, and
// nothing else in it changes. One from httptest.NewRequest or http.NewRequest will do; its host need not exist.
//
// Failures are reported with t.Errorf, and Twice goes on with the next way. Opts may be nil. Twice may run in parallel with
// other tests, unless Options.Effects counts theirs too.
func Twice(t testing.TB, handler http.Handler, request *http.Request, opts *Options) {
	t.Helper()
	k, err := newKit(handler, request, opts)
	if err != nil {
		t.Errorf("oncetest: %v", err)
		return
	}
	for _, way := range ways {
		problems := k.try(way.run)
		for _, problem := range problems {
			t.Errorf("oncetest: %s: %s", way.name, problem)
		}
		if k.status == 0 {
			return // not even a first request is answered
		}
	}
}

var ways = []struct {
	name string
	run  func(*trial)
}{
	{"once and again", again},
	{"at once", atOnce},
	{"the client left when its request was read", leftEarly},
	{"the client left halfway", leftHalfway},
	{"the client left without reading the answer", leftLate},
}

// kit is what all trials share.
type kit struct {
	Options
	handler http.Handler
	request *http.Request
	body    []byte
	ignored map[string]bool

	// How the first answer was, and how long it took.
	status int
	took   time.Duration
}

func newKit(handler http.Handler, request *http.Request, opts *Options) (*kit, error) {
	switch {
	case handler == nil:
		return nil, errors.New("there is no handler to test")
	case request == nil:
		return nil, errors.New("there is no request to send")
	}
	k := &kit{handler: handler, request: request, ignored: make(map[string]bool)}
	if opts != nil {
		k.Options = *opts
	}
	if k.Concurrent < 0 || k.Concurrent == 1 || k.Timeout < 0 {
		return nil, fmt.Errorf("Options.Concurrent is %d and Options.Timeout %v: at least 2 and not negative, or 0 for the default",
			k.Concurrent, k.Timeout)
	}
	if k.Concurrent == 0 {
		k.Concurrent = 8
	}
	if k.Timeout == 0 {
		k.Timeout = 10 * time.Second
	}
	if k.KeyHeader == "" {
		k.KeyHeader = "Idempotency-Key"
	}
	k.KeyHeader = textproto.CanonicalMIMEHeaderKey(k.KeyHeader)
	if k.NewKey == nil {
		k.NewKey = k.freshKey
	}
	for _, name := range slices.Concat(passing, k.IgnoreHeaders) {
		k.ignored[textproto.CanonicalMIMEHeaderKey(name)] = true
	}
	var err error
	k.body, err = readBody(request)
	return k, err
}

// try carries the operation out once, and returns what was wrong.
func (k *kit) try(run func(*trial)) []string {
	message, err := k.message(k.NewKey())
	if err != nil {
		return []string{err.Error()}
	}
	x := &trial{kit: k, message: message}
	before := k.effects()
	run(x)
	x.server.Close() // returns when no request is in flight, those of clients who left included
	switch grown := k.effects() - before; {
	case k.Effects == nil || grown == 1:
	case grown == 0:
		x.failf("Effects has not grown: the request was answered, and the operation was not carried out")
	default:
		x.failf("Effects has grown by %d for one key: a customer whose request is sent again gets it %d times", grown, grown)
	}
	return x.problems
}

func (k *kit) effects() int {
	if k.Effects == nil {
		return 0
	}
	return k.Effects()
}

// trial is one operation, asked for with one key.
type trial struct {
	*kit
	message  []byte // the request, with its key
	server   *httptest.Server
	problems []string
}

func (x *trial) failf(format string, args ...any) {
	x.problems = append(x.problems, fmt.Sprintf(format, args...))
}
