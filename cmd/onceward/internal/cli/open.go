package cli

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/onceward/onceward/diskstore"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
)

const (
	// defaultStore is a directory, so that keys survive a restart unless somebody asks for less.
	defaultStore = "./onceward-data"
	storeHelp    = "where keys are kept: a `DIR` on a disk of this machine, or memory: which dies with the process"
)

// opened is a store that is open.
type opened struct {
	driver.Store

	name  string // as it may be shown: without a password
	dir   string // the data directory, absolute; "" if there is none
	close func() error
}

// Unwrap is for driver.As.
func (o *opened) Unwrap() driver.Store { return o.Store }

// openStore opens the store that --store names. The error is a failure if the text is right.
func openStore(text string, o *diskstore.Options) (*opened, error) {
	dir, err := storeDir(text)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		return &opened{Store: memstore.New(nil), name: "memory:", close: func() error { return nil }}, nil
	}
	store, err := diskstore.Open(dir, o)
	if err != nil {
		return nil, failed(fmt.Errorf("--store %s: %w", text, err))
	}
	return &opened{Store: store, name: dir, dir: dir, close: store.Close}, nil
}

// storeDir is the absolute data directory that --store names, or "" for memory:.
func storeDir(text string) (string, error) {
	scheme, rest, isURL := strings.Cut(text, ":")
	switch {
	case text == "":
		return "", errors.New(`--store "": want memory: or a directory such as ` + defaultStore)
	case text == "memory:":
		return "", nil
	case isURL && (scheme == "memory" || strings.HasPrefix(rest, "//")):
		return "", fmt.Errorf("--store %s: want a directory such as %s, or memory:; there is no other store yet",
			withoutPassword(text), defaultStore)
	default:
		return filepath.Abs(text)
	}
}

// withoutPassword is a text that was given as a URL, as it may be shown.
func withoutPassword(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "is not a URL" // and may hold a password
	}
	return fmt.Sprintf("%q", u.Redacted())
}
