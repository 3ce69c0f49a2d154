package cli

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
)

// open opens the store that --store names, and returns the name as it may be shown: without a password.
func open(text string) (store driver.Store, name string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, "", errors.New("--store is not a URL: want memory: and nothing else") // the text may hold a password
	}
	if *u == (url.URL{Scheme: "memory"}) {
		return memstore.New(nil), u.Redacted(), nil
	}
	return nil, "", fmt.Errorf("--store %q: want memory:, which keeps keys until the process ends; there is no other store yet",
		u.Redacted())
}
