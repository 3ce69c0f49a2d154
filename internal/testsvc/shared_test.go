package testsvc

import (
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

func TestSharedServers(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]func(testing.TB) *Server{
		"redis": SharedRedis, "postgres": SharedPostgres, "mariadb": SharedMariaDB,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := shared(t)
			check.True(t, !s.Owned(), "a shared server is owned")
			check.Equal(t, shared(t).URL, s.URL, "the URL for another test")
			said, failed := attempt(t, func(t testing.TB) { shared(t).Kill() })
			check.True(t, failed && strings.Contains(said, "is not this test's alone"), "said to who kills it: %s", said)
		})
	}
}

func TestDatabasesAreApartAndDropped(t *testing.T) {
	t.Parallel()
	for name, shared := range map[string]func(testing.TB) *Server{"postgres": SharedPostgres, "mariadb": SharedMariaDB} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var gone *Server
			said, failed := attempt(t, func(tb testing.TB) {
				one, other := shared(tb).Database(), shared(tb).Database()
				check.True(t, one.URL != other.URL && one.DSN() != other.DSN(), "two databases are one")
				one.execute("CREATE TABLE cup (n int)")
				other.execute("CREATE TABLE cup (n int)")
				gone = one
			})
			check.True(t, !failed, "it failed: %s", said)
			out, err := gone.tryExecute("SELECT 1")
			check.True(t, err != nil && strings.Contains(strings.ToLower(string(out)), "database"), "the database is still there: %s", out)
		})
	}
}

func TestServersThatAreThereArePreferred(t *testing.T) {
	own := Redis(t)
	t.Setenv("TEST_REDIS_URL", own.URL)
	s := SharedRedis(t)
	check.Equal(t, s.URL, own.URL, "the URL")
	check.Equal(t, s.Addr, own.Addr, "the address")
	check.True(t, !s.Owned(), "it is owned")

	t.Setenv("TEST_POSTGRES_URL", "postgres://me:secret@host:bad/")
	said, failed := attempt(t, func(t testing.TB) { SharedPostgres(t) })
	check.True(t, failed && strings.Contains(said, "TEST_POSTGRES_URL") && !strings.Contains(said, "secret"), "said: %s", said)
}

func TestDSN(t *testing.T) {
	for from, want := range map[string]string{
		"mysql://me:p%40ss@host:3306/db?tls=true": "me:p@ss@tcp(host:3306)/db?tls=true",
		"mysql://me@host:3306/":                   "me@tcp(host:3306)/",
		"mysql://host:3306/db":                    "tcp(host:3306)/db",
	} {
		u, err := url.Parse(from)
		check.NoError(t, err, "the URL")
		check.Equal(t, dsn(u), want, "the DSN of %s", from)
	}
}

func TestNamesDiffer(t *testing.T) {
	one, other := Name(), Name()
	check.True(t, one != other, "two names are one")
	check.True(t, regexp.MustCompile(`^[a-z][a-z0-9_]{30}$`).MatchString(one), "the name %s", one)
}
