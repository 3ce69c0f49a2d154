package oncehttp

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward"
)

// Keys says what happens to a request without a key.
type Keys int

const (
	// Optional lets it through unguarded.
	Optional Keys = iota
	// Required refuses it with 400 key-missing.
	Required
	// Derived makes a key of what is asked for, so that two equal requests within DerivedRetention are one operation.
	// The body must be JSON, or the request is refused with 400 key-missing.
	Derived
)

// Options are the handler's. Zero fields mean the documented defaults.
type Options struct {
	// Methods are guarded. Requests with others are passed on untouched, even with a key. Defaults to POST and PATCH.
	Methods []string
	// Header is the field that carries the key. Defaults to Idempotency-Key.
	Header string
	// Keys says what happens to a request without a key. Defaults to Optional.
	Keys Keys
	// DerivedPrefix begins derived keys. Defaults to "derived-".
	DerivedPrefix string
	// DerivedRetention is the retention of answers to requests with derived keys. Defaults to 10 min.
	DerivedRetention time.Duration
	// Policy says how the operation is kept. Defaults to the guard's.
	Policy *onceward.Policy
	// Fingerprint says what makes two requests the same. Defaults to the bytes of the body, and to [ByContent] if keys are
	// derived.
	Fingerprint Fingerprint
	// Also holds fingerprints that were used before, for as long as stored keys carry them. Defaults to none.
	Also []Fingerprint
	// Transactions lets the handler run in a transaction that is committed with its answer: 2xx and 3xx commit, other
	// answers roll back. What is final is stored all the same, every 5xx releases the key, and Idempotency-Control: in-doubt
	// does, because nobody is in doubt about what was rolled back. The answer is held back until then, also when it is
	// flushed; one above MaxOutcome rolls back and becomes 500 answer-too-large, and Hijack is refused. An
	// http.TimeoutHandler must stand outside. Policy.FailOpen is not heard. Defaults to nil: no transaction.
	Transactions Transactions
	// Classify says what an answer means for its key. For those that it returns zero for, 401, 403, 407, 408, 421, 425,
	// 429, and 503 with Retry-After release the key; other 5xx are stored under Hold and release it under Rerun; the rest
	// is stored. It must not keep the header. Defaults to nil: these rules.
	Classify func(status int, header http.Header) Class
	// Authorize is asked before anything stored is shown, for callers who have lost their rights since. An error is
	// answered with 403 forbidden, or with the [Problem] that it is. Defaults to nil: everybody of the scope.
	Authorize func(*http.Request) error
	// StoreHeaders are kept for replays besides those that describe the answer. Defaults to none.
	StoreHeaders []string
	// MaxBody bounds a request's body, in bytes. Defaults to 16 MiB.
	MaxBody int64
	// SpoolMemory is how much of a body is held in memory, in bytes; the rest is in a file. Defaults to 64 KiB.
	SpoolMemory int
	// SpoolTotal bounds the bodies of all requests together, in bytes, in memory and on disk. Defaults to 1 GiB.
	SpoolTotal int64
	// BodyTimeout is how long a body may take to arrive. It takes the place of the server's ReadTimeout. Defaults to 30 s.
	BodyTimeout time.Duration
	// MaxOutcome bounds a stored answer's body, in bytes. Larger answers pass through and leave a tombstone.
	// Defaults to 1 MiB.
	MaxOutcome int
	// MaxWait bounds the wait that a client may ask for with Prefer: wait=SECONDS (RFC 7240). Defaults to 30 s.
	MaxWait time.Duration
	// IgnorePrefer leaves Prefer: wait unheard: duplicates wait as the policy says. Defaults to false.
	IgnorePrefer bool
	// KeyMaxAge refuses keys that were made longer ago and are not known any more, with 409 key-expired: such a retry
	// would run again. The age is told by a UUID of version 7 at the end of the key, or by Repeatability-First-Sent. It
	// must be five minutes shorter than the retention at least, for clocks that differ; derived keys are refused when they
	// are older than DerivedRetention less these five minutes. Defaults to 0: no check.
	KeyMaxAge time.Duration
	// MaxPerScope bounds the guarded requests of one scope that are in this process at a time. Defaults to 0: no bound.
	MaxPerScope int
	// ProblemBase begins the type of problems; the code follows.
	// Defaults to https://github.com/onceward/onceward/blob/main/docs/problems.md#.
	ProblemBase string
}

// config is the options with defaults, and what the handlers of one New share.
type config struct {
	Options
	guard         *onceward.Guard
	scope         func(*http.Request) (string, error)
	derivedPolicy *onceward.Policy
	stored        map[string]bool // StoreHeaders

	scopes  scopes
	spooled atomic.Int64 // bytes of bodies, of SpoolTotal
}

const (
	defaultSpoolMemory = 64 << 10
	bytesAlgorithm     = "http-bytes/1"
	keyAgeMargin       = 5 * time.Minute
	defaultProblemBase = "https://github.com/onceward/onceward/blob/main/docs/problems.md#"
)

func newConfig(opts *Options) (*config, error) {
	c := &config{stored: make(map[string]bool)}
	if opts != nil {
		c.Options = *opts
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Header = http.CanonicalHeaderKey(cmp.Or(c.Header, "Idempotency-Key"))
	c.DerivedPrefix = cmp.Or(c.DerivedPrefix, "derived-")
	c.DerivedRetention = cmp.Or(c.DerivedRetention, 10*time.Minute)
	c.MaxBody = cmp.Or(c.MaxBody, 16<<20)
	c.SpoolMemory = cmp.Or(c.SpoolMemory, defaultSpoolMemory)
	c.SpoolTotal = cmp.Or(c.SpoolTotal, 1<<30)
	c.BodyTimeout = cmp.Or(c.BodyTimeout, 30*time.Second)
	c.MaxOutcome = cmp.Or(c.MaxOutcome, 1<<20)
	c.MaxWait = cmp.Or(c.MaxWait, 30*time.Second)
	c.ProblemBase = cmp.Or(c.ProblemBase, defaultProblemBase)
	c.scopes = scopes{most: c.MaxPerScope, by: make(map[string]int)}
	if c.Methods == nil {
		c.Methods = []string{http.MethodPost, http.MethodPatch}
	}
	if c.Keys == Derived && c.Fingerprint.Body == nil {
		c.Fingerprint = ByContent()
	}
	c.Fingerprint.Algorithm = cmp.Or(c.Fingerprint.Algorithm, bytesAlgorithm)
	c.Also = slices.Clone(c.Also)
	for i := range c.Also {
		c.Also[i].Algorithm = cmp.Or(c.Also[i].Algorithm, bytesAlgorithm)
	}
	for _, name := range c.StoreHeaders {
		c.stored[http.CanonicalHeaderKey(name)] = true
	}
	derived := onceward.Policy{}
	if c.Policy != nil {
		derived = *c.Policy
	}
	derived.Retention = c.DerivedRetention
	c.derivedPolicy = &derived
	return c, nil
}

// bind gives the handlers their guard, and checks what depends on its policy.
func (c *config) bind(guard *onceward.Guard) error {
	c.guard = guard
	if c.Transactions != nil {
		c.guard = c.Transactions.With(guard)
	}
	p, err := guard.Policy(c.Policy)
	if err != nil {
		return fmt.Errorf("oncehttp: Options.Policy: %w", err)
	}
	if c.KeyMaxAge > 0 && c.KeyMaxAge > p.Retention-keyAgeMargin {
		return fmt.Errorf("oncehttp: Options.KeyMaxAge is %v and the retention %v: a key whose answer is gone could still "+
			"run; let it be %v shorter", c.KeyMaxAge, p.Retention, keyAgeMargin)
	}
	if c.Keys != Derived {
		return nil
	}
	if _, err = guard.Policy(c.derivedPolicy); err != nil {
		return fmt.Errorf("oncehttp: Options.DerivedRetention: %w", err)
	}
	return nil
}

func (o *Options) check() error {
	for _, n := range [...]struct {
		name  string
		value int64
	}{
		{"MaxBody", o.MaxBody}, {"SpoolMemory", int64(o.SpoolMemory)}, {"SpoolTotal", o.SpoolTotal},
		{"MaxOutcome", int64(o.MaxOutcome)}, {"MaxPerScope", int64(o.MaxPerScope)},
		{"BodyTimeout", int64(o.BodyTimeout)}, {"MaxWait", int64(o.MaxWait)}, {"KeyMaxAge", int64(o.KeyMaxAge)},
		{"DerivedRetention", int64(o.DerivedRetention)},
	} {
		if n.value < 0 {
			return fmt.Errorf("oncehttp: Options.%s is %d: it must not be negative; leave it 0 for the default", n.name, n.value)
		}
	}
	if o.Keys < Optional || o.Keys > Derived {
		return fmt.Errorf("oncehttp: Options.Keys is %d: use Optional, Required or Derived", o.Keys)
	}
	for _, f := range append([]Fingerprint{o.Fingerprint}, o.Also...) {
		if f.Body != nil && f.Algorithm == "" {
			return errors.New("oncehttp: an Options.Fingerprint has a Body and no Algorithm: name it, so that stored keys " +
				"tell how they were compared")
		}
	}
	return o.checkNames()
}

// guards reports whether the request is ours.
func (c *config) guards(r *http.Request) bool {
	return slices.Contains(c.Methods, r.Method) && (c.Keys != Optional || len(r.Header[c.Header]) > 0)
}

// seconds rounds up, because asking a moment too early only asks again.
func seconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}
