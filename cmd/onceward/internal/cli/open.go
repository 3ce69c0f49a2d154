package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/diskstore"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/mysqlstore"
	"github.com/onceward/onceward/pgstore"
	"github.com/onceward/onceward/redisstore"
)

const (
	// defaultStore is a directory, so that keys survive a restart unless somebody asks for less.
	defaultStore = "./onceward-data"
	storeHelp    = "where keys are kept: a `DIR` on a disk of this machine, the URL of a server that any number of processes share, such\n" +
		"as redis://, postgres:// or mysql://HOST:PORT, or memory:, which dies with the process; " + storeVariable + " says it too"
)

// storeVariable takes the place of --store, so that a password in it is not in the list of processes.
const storeVariable = "ONCEWARD_STORE"

// storeText is what --store says, or the variable if the flag is not there.
func storeText(cmd *cobra.Command, text string) string {
	set, flag := os.Getenv(storeVariable), cmd.Flags().Lookup("store")
	if set == "" || flag == nil || flag.Changed {
		return text
	}
	return set
}

// location is what --store names: a data directory, a URL, or, if both are empty, the memory of the process.
type location struct {
	dir    string // absolute
	url    string
	scheme string // of the URL
	shown  string // as it may be shown: without a password
}

// The schemes of stores that have a URL.
var (
	redisSchemes    = []string{"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"}
	postgresSchemes = []string{"postgres", "postgresql"}
	mysqlSchemes    = []string{"mysql", "mariadb"}

	schemes = slices.Concat(redisSchemes, postgresSchemes, mysqlSchemes)
)

func parseLocation(text string) (location, error) {
	scheme, rest, isURL := strings.Cut(text, ":")
	switch {
	case text == "":
		return location{}, errors.New(`--store "": want memory:, the URL of a server or a directory such as ` + defaultStore)
	case text == "memory:":
		return location{shown: text}, nil
	case slices.Contains(schemes, scheme) && strings.HasPrefix(rest, "//"):
		return location{url: text, scheme: scheme, shown: withoutPassword(text)}, nil
	case isURL && (scheme == "memory" || strings.HasPrefix(rest, "//")):
		return location{}, fmt.Errorf("--store %q: want a directory such as %s, memory:, or a URL that begins with one of %s",
			withoutPassword(text), defaultStore, strings.Join(schemes, ", "))
	}
	dir, err := filepath.Abs(text)
	return location{dir: dir, shown: dir}, err
}

// withoutPassword is a URL as it may be shown. Nobody knows yet whether it is right, so a password may hold any character.
func withoutPassword(text string) string {
	scheme, rest, isURL := strings.Cut(text, "://")
	switch {
	case !isURL:
		return text
	case scheme == "":
		return "://…"
	}
	login := ""
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		user, _, _ := strings.Cut(rest[:at], ":")
		if len(user) == at {
			user = "" // it is all there is, and may be a token
		}
		login, rest = user+":…@", rest[at+1:]
	}
	server, _, _ := strings.Cut(rest, "?") // what follows may be the password of the sentinels
	return scheme + "://" + login + server
}

// opened is a store that is open.
type opened struct {
	driver.Store
	location

	server string   // what it is
	doubts []string // the reasons why nothing is guaranteed on it
	notes  []string // what is worth knowing, and takes nothing from it
	close  func() error
}

// Unwrap is for driver.As.
func (s *opened) Unwrap() driver.Store { return s.Store }

// storeOptions are what a store is opened with, besides its place.
type storeOptions struct {
	minFree       int64
	allowEviction bool
	bestEffort    bool
	audit         driver.AuditLevel
	auditFor      time.Duration // how long the trail is kept; negative is for ever
	operator      bool          // who opens it only looks and resolves; what he does is on the trail, whatever the proxies have it keep
	patience      time.Duration // for a directory that is in use
	log           *slog.Logger
}

// openStore opens the store that --store names; memory: takes what it knows of the options. The error is a failure if the
// text is right.
func openStore(text string, o *storeOptions) (*opened, error) {
	at, err := parseLocation(text)
	if err != nil {
		return nil, err
	}
	s := &opened{location: at, close: func() error { return nil }}
	switch {
	case at.dir != "":
		err = s.openDisk(o)
	case slices.Contains(redisSchemes, at.scheme):
		err = s.openRedis(o)
	case slices.Contains(postgresSchemes, at.scheme):
		err = s.openPostgres(o)
	case slices.Contains(mysqlSchemes, at.scheme):
		err = s.openMySQL(o)
	default:
		s.Store = memstore.New(&memstore.Options{Audit: o.audit, AuditRetention: o.auditFor})
	}
	if err != nil {
		return nil, failed(fmt.Errorf("--store %s: %w", at.shown, err))
	}
	return s, nil
}

// trail is what the store keeps of it, and for how long. For how long is for the proxies to say, and an operator who sweeps
// must not remove what they would keep.
func (o *storeOptions) trail() (driver.AuditLevel, time.Duration) {
	if o.operator {
		return driver.AuditTransitions, -1
	}
	return o.audit, o.auditFor
}

const diskServer = "diskstore, for one process at a time"

// openDisk waits for whoever has the directory, such as a command that looks at it, or a proxy that is just ending.
func (s *opened) openDisk(o *storeOptions) error {
	opts := diskstore.Options{FreeSpaceFloor: o.minFree, Logger: o.log}
	opts.Audit, opts.AuditRetention = o.trail()
	for until := time.Now().Add(o.patience); ; time.Sleep(50 * time.Millisecond) {
		store, err := diskstore.Open(s.dir, &opts)
		if err == nil {
			s.Store, s.server, s.close = store, diskServer, store.Close
		}
		if !errors.Is(err, syscall.EAGAIN) || time.Now().After(until) {
			return err
		}
	}
}

func (s *opened) openRedis(o *storeOptions) error {
	opts := redisstore.Options{AllowEviction: o.allowEviction, BestEffort: o.bestEffort, Logger: o.log}
	opts.Audit, opts.AuditRetention = o.trail()
	store, err := redisstore.Open(s.url, &opts)
	without := err
	if o.operator && errors.Is(err, errors.ErrUnsupported) { // Redis 6 has no trail, and who keeps none gives no rights for it
		opts.Audit = driver.AuditOff
		store, err = redisstore.Open(s.url, &opts)
	}
	if err != nil {
		return err
	}
	p := store.Promise()
	s.take(store, promise{Server: p.Server, Doubts: p.Doubts}, store.Close)
	if without != nil {
		s.Store = &untold{Store: store, why: without, log: o.log}
	}
	return nil
}

func (s *opened) openPostgres(o *storeOptions) error {
	url, schema := takeParameter(s.url, schemaParameter)
	opts := pgstore.Options{Schema: schema, BestEffort: o.bestEffort, Logger: o.log}
	opts.Audit, opts.AuditRetention = o.trail()
	store, err := pgstore.Open(url, &opts)
	if err == nil {
		s.take(store, promise(store.Promise()), store.Close)
	}
	return err
}

func (s *opened) openMySQL(o *storeOptions) error {
	url, prefix := takeParameter(s.url, prefixParameter)
	opts := mysqlstore.Options{Prefix: prefix, BestEffort: o.bestEffort, Logger: o.log}
	opts.Audit, opts.AuditRetention = o.trail()
	store, err := mysqlstore.Open(url, &opts)
	if err == nil {
		s.take(store, promise(store.Promise()), store.Close)
	}
	return err
}

// promise is what a server can keep, in the form that the stores in databases have for it.
type promise struct {
	Server        string
	Doubts, Notes []string
}

// take makes a store on a server the one that is open.
func (s *opened) take(store driver.Store, p promise, end func()) {
	s.Store, s.server, s.doubts, s.notes = store, p.Server, p.Doubts, p.Notes
	s.close = func() error { end(); return nil }
}

// Where the tables are is said in the URL, so that every command finds them by the same words.
const (
	schemaParameter = "onceward_schema"
	prefixParameter = "onceward_prefix"
)

// takeParameter takes a parameter that is ours out of a URL, and leaves all others as they are written.
func takeParameter(address, name string) (rest, value string) {
	before, query, found := strings.Cut(address, "?")
	if !found {
		return address, ""
	}
	kept := slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		text, ours := strings.CutPrefix(pair, name+"=")
		if ours {
			value = text
		}
		return ours
	})
	if len(kept) == 0 {
		return before, value
	}
	return before + "?" + strings.Join(kept, "&"), value
}
