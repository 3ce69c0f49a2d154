package testsvc

import (
	"fmt"
	"net/url"
	"path"
	"syscall"
	"testing"
)

var pgbouncer = service{
	name: "pgbouncer", program: "pgbouncer", debian: "pgbouncer", users: []string{"postgres", "nobody"},
	ready: "process up", stop: syscall.SIGTERM,
	args: func(i *instance) []string {
		_ = i.write("port", []string{fmt.Sprintf("listen_port = %d", i.port)}) // it does not start without
		return []string{i.path(config)}
	},
}

// PgBouncer starts a PgBouncer in front of a PostgreSQL for this test, which gives each transaction any connection of at most
// five. Its URL leads to the server's database; whoever connects is the server's user. settings are lines of the section
// [pgbouncer] of pgbouncer.ini, such as "pool_mode = session"; they stand after the package's own, so that theirs count.
func PgBouncer(t testing.TB, server *Server, settings ...string) *Server {
	t.Helper()
	name := path.Base(server.url.Path)
	password, _ := server.url.User.Password()
	front := pgbouncer
	front.settings = []string{
		"[databases]",
		fmt.Sprintf("%s = host=%s port=%s user=%s password=%s",
			name, server.url.Hostname(), server.url.Port(), server.url.User.Username(), password),
		"[pgbouncer]", "listen_addr = 127.0.0.1", "unix_socket_dir =", "auth_type = any", "pool_mode = transaction",
		"default_pool_size = 5", "max_client_conn = 1000", "%include port",
	}
	front.url = func(i *instance) *url.URL {
		return &url.URL{Scheme: "postgres", User: url.User(account), Host: i.addr(), Path: "/" + name, RawQuery: "sslmode=disable"}
	}
	return start(t, &front, settings)
}
