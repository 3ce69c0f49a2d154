// Package redisstore keeps records in Redis or Valkey, so that any number of processes on any number of machines share
// keys.
//
// # What is promised
//
// On one server that writes each transition to its append-only file before it answers (appendonly yes, appendfsync
// always), an operation under hold starts at most once per key. Everywhere else it is best effort: without that file, or
// with another appendfsync, a crash forgets what was acknowledged last; with replicas, Sentinel or Cluster a failover does,
// and two owners may then hold one key. [Store.Promise] says which it is here and why, and New logs it. While keys are
// acquired the server is asked again once a minute, and what has changed is logged.
//
// A server that evicts keys is refused, because an evicted key is an operation that runs twice. At its maxmemory Redis 7
// and Valkey refuse new keys, while running ones are still completed and done ones replayed. Older servers refuse both. An
// outcome that is larger than proto-max-bulk-len, 512 MB by default, is refused before it is sent, whenever it is tried.
//
// # Records
//
// A record is one key, namespace:{id}, whose value only this package reads, and which goes by itself. Nothing but the
// server's clock judges: a value holds no instant, and the age of a lease is the expiry with which the value was written
// less what is left of it. Every transition is one script, so one round trip, and it writes the record once. On a rueidis
// client an Acquire is a SET with NX instead, and the script only if there is something; what this process has just seen
// done it asks for with a GET. A value that another application or a later version wrote, or that is damaged, answers
// [driver.ErrUndecodable] and is never touched.
//
// A process remembers how the records began that it acquired and is to complete, about 400 bytes each, and those that it saw
// done, 2 KiB each at most, of 65,536 ids. So Complete sends the whole next value, and its script only compares the owner and
// a check before it writes that. Nothing depends on what is remembered: any process can complete what another has acquired.
//
// # Audit trail
//
// With [Options].Audit each record has a stream beside it, namespace:{id}:trail, to which the script of a transition adds the
// entry. It goes by itself when the last entry is over, and can be read by id only. At its maxmemory Redis 7 still takes
// entries of running keys, as it takes their outcomes.
//
// # Retries of the client
//
// Every transition can be repeated by its owner, so that a client which sends a command again after a lost reply does no
// harm; only a repeated Resolve is lost. Rueidis by itself repeats what only reads, what a cluster sends elsewhere, and what
// meets a connection at the end of its ConnLifetime. For clients that repeat more there is [NewFromEval].
//
// # Rights
//
// The user needs these, for the namespace "onceward". The last three lines are for [driver.Waiter], without which waiting
// duplicates poll; for [Options].CacheCompleted; and for [Options].Audit and [Store.Clock]. Without CONFIG GET the promise is
// best effort.
//
//	ACL SETUSER onceward on >password resetkeys resetchannels ~onceward:* &onceward:*
//	  -@all +hello +auth +ping +select +info +config|get
//	  +set +get +getrange +pttl +eval +evalsha +scan
//	  +publish +subscribe +unsubscribe
//	  +client|tracking +client|caching +multi +exec
//	  +xadd +xrange +pexpire +persist +time
package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
)

// Options are the settings of a [Store].
type Options struct {
	// Namespace is what the store's keys begin with: up to 64 letters, digits, dots, hyphens and underscores. Stores of one
	// namespace share keys. Defaults to "onceward".
	Namespace string
	// AllowEviction takes a server whose maxmemory-policy evicts keys. Operations whose key is evicted run again. Defaults
	// to false: such a server is an error.
	AllowEviction bool
	// BestEffort says that it is known that this server keeps no promise: it is then logged as information instead of as a
	// warning. Defaults to false.
	BestEffort bool
	// CacheCompleted answers repeated requests for a done record from the memory of this process, by rueidis's client-side
	// caching, for which the client must not have DisableCache. When the record is resolved, expires or is deleted, Redis tells
	// so. The old outcome is still replayed until that has arrived or, if the connection is dead, until rueidis has noticed,
	// which takes its ConnWriteTimeout and KeepAlive, 11 s by default. Defaults to false.
	CacheCompleted bool
	// Audit says which steps the audit trail keeps, see [Store.History]. With it an Acquire of a new key is a script too.
	// Defaults to driver.AuditOff.
	Audit driver.AuditLevel
	// AuditRetention is how long the trail keeps an entry. Each step of a key trims its trail, by the options of the process
	// that makes it. Only a Resolve, which is an operator's, trims none and makes none shorter. Negative is for ever, but a
	// trail that begins with a Resolve has the default then. Defaults to 90 days.
	AuditRetention time.Duration
	// Logger is told what the server can promise, when that has changed, and about records that cannot be read when they are
	// listed. Defaults to [slog.Default].
	Logger *slog.Logger
}

// Store is a [driver.Store], a [driver.Lister], a [driver.Waiter] and a [driver.Historian]. It is safe for concurrent use.
//
// A context that has already ended is reported before anything is done. One that ends during a call makes the call return
// at once: what was asked for may still happen, wholly or not at all.
type Store struct {
	namespace string
	prefix    string // of keys, up to the id
	log       *slog.Logger
	promise   Promise
	largest   int // bytes that the server reads in one piece
	clustered bool
	watch     *watch

	audit          driver.AuditLevel
	auditRetention time.Duration

	redis   evaluator
	repeats bool               // the evaluator may send a call again by itself
	scripts *scripts           // in the form that the server knows
	direct  *rueidisServer     // nil when a script has to begin
	begun   remembered[string] // how the values of running records begin that were acquired here
	replays *replays           // nil with Eval
	hints   *hints             // nil when nobody can tell
	close   func()
}

var _ interface {
	driver.Store
	driver.Lister
	driver.Waiter
	driver.Historian
} = (*Store)(nil)

// patience is for what New asks the server.
const patience = 10 * time.Second

// New returns a store on a client, which stays the caller's. It asks the server what it is, and refuses one that cannot be
// used: the error says which setting, and what to do. Nil options are the defaults.
//
// The client may be for one server, Sentinel or Cluster. It must not send reads to replicas if CacheCompleted is set.
func New(client rueidis.Client, o *Options) (*Store, error) {
	server := rueidisServer{client}
	s, err := newStore(server, o)
	if err != nil {
		return nil, err
	}
	if err := s.settle(server.inspect, o); err != nil {
		return nil, err
	}
	s.direct = &server
	s.replays = newReplays(client, o != nil && o.CacheCompleted)
	s.hints = newHints(client, s.namespace+":changed")
	s.close = s.hints.close
	return s, nil
}

// NewFromEval returns a store on any other client, given a function that runs a script on it. With go-redis:
//
//	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
//		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
//	}
//
// Everything is then done by scripts, so that New on a rueidis client is faster. Such clients repeat a call by themselves
// after a lost reply. This does no harm, but nobody can tell then whether an error was a refusal: only a full server and a
// record that cannot be read are [driver.ErrUnavailable], after all other errors the outcome is unknown. CacheCompleted is
// an error here, waiting duplicates poll, and the promise is best effort because a script cannot look at appendfsync.
func NewFromEval(eval Eval, o *Options) (*Store, error) {
	if o != nil && o.CacheCompleted {
		return nil, errors.New("redisstore: Options.CacheCompleted needs New with a rueidis client")
	}
	server := evalServer{eval}
	s, err := newStore(server, o)
	if err != nil {
		return nil, err
	}
	s.repeats = true
	inspect := func(ctx context.Context) ([]facts, error) { return server.inspect(ctx, s.noID()) }
	if err := s.settle(inspect, o); err != nil {
		return nil, err
	}
	return s, nil
}

var namespaces = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func newStore(redis evaluator, o *Options) (*Store, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	s := &Store{namespace: cmp.Or(opts.Namespace, "onceward"), redis: redis, log: opts.Logger, close: func() {}}
	s.audit, s.auditRetention = opts.Audit, cmp.Or(opts.AuditRetention, defaultAuditRetention)
	if s.log == nil {
		s.log = slog.Default()
	}
	if !namespaces.MatchString(s.namespace) {
		return nil, fmt.Errorf("redisstore: Options.Namespace is %q: use up to 64 letters, digits, dots, hyphens and underscores", s.namespace)
	}
	if s.audit == driver.AuditOff {
		s.auditRetention = -1 // what others keep is shown until they remove it
	}
	if s.audit > driver.AuditAll {
		return nil, fmt.Errorf("redisstore: Options.Audit is %d: use driver.AuditOff, AuditTransitions or AuditAll", s.audit)
	}
	s.prefix = s.namespace + ":{"
	return s, nil
}

// settle decides what can be done and promised on a server.
func (s *Store) settle(inspect func(ctx context.Context) ([]facts, error), o *Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := inspect(ctx)
	if err != nil {
		return unopened(err)
	}
	allowEviction, bestEffort := o != nil && o.AllowEviction, o != nil && o.BestEffort
	if s.promise, err = judge(all, allowEviction); err != nil {
		return err
	}
	flags := true
	s.largest = usualLargest
	for _, f := range all {
		if f.silent == "" {
			flags, s.largest = flags && f.major() >= 7, min(s.largest, f.largest())
			s.clustered = f.info["redis_mode"] == "cluster"
		}
	}
	s.scripts = newScripts(flags)
	if err := s.mayAudit(ctx, flags); err != nil {
		return err
	}
	s.log.Log(ctx, level(s.promise, bestEffort), "redisstore: "+s.promise.String(), "server", s.promise.Server, "namespace", s.namespace)
	s.watch = newWatch(s.lookAgain(inspect, allowEviction, bestEffort))
	return nil
}

// Promise is what the server could keep when the store was made.
func (s *Store) Promise() Promise { return s.promise }

// Close ends what waits for hints, and the connections if the store was made by [Open]. Calls that are made later may
// fail in any way.
func (s *Store) Close() {
	s.watch.close()
	s.close()
}
