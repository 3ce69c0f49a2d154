package cli

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// What a server says of itself is known, and its connections end with the store.
func TestStoresOnServers(t *testing.T) {
	for _, c := range []struct{ url, server, note string }{
		{url: testsvc.SharedRedis(t).URL, server: "Redis "},
		{url: testsvc.SharedPostgres(t).Database().URL, server: "PostgreSQL ", note: "no standby is synchronous"},
		{url: testsvc.SharedMariaDB(t).Database().URL, server: "MariaDB "},
	} {
		if !strings.HasPrefix(c.server, "Redis") {
			code, _, errs := operate(t, "migrate", "up", "--store", c.url)
			check.Equal(t, code, 0, "exit code of migrate up, which says %s", errs)
		}
		store, err := openStore(c.url, &storeOptions{log: slog.New(slog.DiscardHandler)})
		check.NoError(t, err, "opening")
		check.True(t, strings.HasPrefix(store.server, c.server), "the server is %q, want %s", store.server, c.server)
		check.Equal(t, len(store.doubts), 0, "doubts about %s: %q", store.server, store.doubts)
		check.True(t, strings.Contains(strings.Join(store.notes, "; "), c.note), "notes on %s: %q", store.server, store.notes)
		_, err = store.Get(t.Context(), driver.ID{})
		check.NoError(t, err, "Get")
		check.NoError(t, store.close(), "closing")
		_, err = store.Get(t.Context(), driver.ID{})
		check.True(t, err != nil, "%s answered when the store was closed", c.server)
	}
}

func TestTheStoreMayBeNamedByTheEnvironment(t *testing.T) {
	t.Setenv(storeVariable, data(t))
	code, out, errs := operate(t, "stats", "--json")
	check.Equal(t, code, 0, "exit code, which says %s", errs)
	holds(t, out, `"running": 0`)
	code, _, errs = operate(t, "stats", "--store", t.TempDir())
	check.Equal(t, code, 1, "exit code of a command whose flag names another one")
	holds(t, errs, "there is no data in")
	code, _, errs = operate(t, "backup", t.TempDir(), filepath.Join(t.TempDir(), "copy"))
	check.Equal(t, code, 1, "exit code of a backup of another directory")
	holds(t, errs, "there is no data in")
}

func TestPasswordsAreNotShown(t *testing.T) {
	for text, want := range map[string]string{
		"redis://a:6379/0":     "redis://a:6379/0",
		"redis://u:secret@a/0": "redis://u:…@a/0",
		"redis://:secret@a":    "redis://:…@a",
		"redis://secret@a":     "redis://:…@a",
		"redis+sentinel://a/m?sentinel_password=sec@ret":    "redis+sentinel://:…@ret",
		"redis://u:se/cret@a":                               "redis://u:…@a",
		"redis://u:se@cret@a/0":                             "redis://u:…@a/0",
		"redis://u:se?cret@a/0":                             "redis://u:…@a/0",
		"redis+sentinel://u:secret@a:1,b:2/m":               "redis+sentinel://u:…@a:1,b:2/m",
		"redis+sentinel://u:s@a/m?sentinel_password=secret": "redis+sentinel://u:…@a/m",
		"redis+sentinel://a/m?sentinel_password=secret":     "redis+sentinel://a/m",
	} {
		check.Equal(t, withoutPassword(text), want, "what is shown of a URL")
		at, err := parseLocation(text)
		check.NoError(t, err, "%s", want)
		check.Equal(t, [2]string{at.url, at.shown}, [2]string{text, want}, "the location, and what is shown of it")
	}
}

func TestOwnParametersAreTakenOutOfAURL(t *testing.T) {
	for text, want := range map[string][2]string{
		"postgres://h/d":                                  {"postgres://h/d", ""},
		"postgres://h/d?onceward_schema=s":                {"postgres://h/d", "s"},
		"postgres://h/d?a=%20b&onceward_schema=s&c=d?e":   {"postgres://h/d?a=%20b&c=d?e", "s"},
		"postgres://h/d?onceward_schemas=s":               {"postgres://h/d?onceward_schemas=s", ""},
		"postgres://u:p@h/d?sslmode=off&onceward_schema=": {"postgres://u:p@h/d?sslmode=off", ""},
	} {
		rest, value := takeParameter(text, schemaParameter)
		check.Equal(t, [2]string{rest, value}, want, "%s without our parameter, and the parameter", text)
	}
}
