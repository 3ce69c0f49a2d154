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
	"github.com/onceward/onceward/redisstore"
)

const (
	// defaultStore is a directory, so that keys survive a restart unless somebody asks for less.
	defaultStore = "./onceward-data"
	storeHelp    = "where keys are kept: a `DIR` on a disk of this machine, redis://HOST:PORT, which any number of processes share, or\n" +
		"memory:, which dies with the process; " + storeVariable + " says it too"
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
	dir   string // absolute
	url   string
	shown string // as it may be shown: without a password
}

// schemes are those of stores that have a URL.
var schemes = []string{
	"redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster",
}

func parseLocation(text string) (location, error) {
	scheme, rest, isURL := strings.Cut(text, ":")
	switch {
	case text == "":
		return location{}, errors.New(`--store "": want memory:, redis://HOST:PORT or a directory such as ` + defaultStore)
	case text == "memory:":
		return location{shown: text}, nil
	case slices.Contains(schemes, scheme) && strings.HasPrefix(rest, "//"):
		return location{url: text, shown: withoutPassword(text)}, nil
	case isURL && (scheme == "memory" || strings.HasPrefix(rest, "//")):
		return location{}, fmt.Errorf("--store %q: want a directory such as %s, memory:, or a URL that begins with redis, rediss or unix, "+
			"or with redis+sentinel or redis+cluster", withoutPassword(text), defaultStore)
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
	close  func() error
}

// Unwrap is for driver.As.
func (o *opened) Unwrap() driver.Store { return o.Store }

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

// openDisk waits for whoever has the directory, such as a command that looks at it, or a proxy that is just ending.
func (o *storeOptions) openDisk(dir string) (*diskstore.Store, error) {
	opts := diskstore.Options{FreeSpaceFloor: o.minFree, Audit: o.audit, AuditRetention: o.auditFor, Logger: o.log}
	if o.operator {
		// For how long is for the proxy to say: a sweep from here must not remove what it would keep.
		opts.Audit, opts.AuditRetention = driver.AuditTransitions, -1
	}
	for until := time.Now().Add(o.patience); ; time.Sleep(50 * time.Millisecond) {
		store, err := diskstore.Open(dir, &opts)
		if !errors.Is(err, syscall.EAGAIN) || time.Now().After(until) {
			return store, err
		}
	}
}

func (o *storeOptions) openRedis(url string) (*redisstore.Store, error) {
	opts := redisstore.Options{
		AllowEviction: o.allowEviction, BestEffort: o.bestEffort, Audit: o.audit, AuditRetention: o.auditFor, Logger: o.log,
	}
	if o.operator {
		opts.Audit = driver.AuditTransitions
	}
	store, err := redisstore.Open(url, &opts)
	if o.operator && errors.Is(err, errors.ErrUnsupported) { // Redis 6 has no trail
		opts.Audit = driver.AuditOff
		return redisstore.Open(url, &opts)
	}
	return store, err
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
		var disk *diskstore.Store
		if disk, err = o.openDisk(at.dir); err == nil {
			s.Store, s.server, s.close = disk, "diskstore, for one process at a time", disk.Close
		}
	case at.url != "":
		var redis *redisstore.Store
		if redis, err = o.openRedis(at.url); err == nil {
			promise := redis.Promise()
			s.Store, s.server, s.doubts, s.close = redis, promise.Server, promise.Doubts, func() error { redis.Close(); return nil }
		}
	default:
		s.Store = memstore.New(&memstore.Options{Audit: o.audit, AuditRetention: o.auditFor})
	}
	if err != nil {
		return nil, failed(fmt.Errorf("--store %s: %w", at.shown, err))
	}
	return s, nil
}
