//go:build torture

package partitions

import (
	"bufio"
	"database/sql"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/mysqlstore"
	"github.com/onceward/onceward/pgstore"
	"github.com/onceward/onceward/proof/kills"
)

// newScene starts a witness and an owner on a server.
func newScene(t *testing.T, service string, mode kills.Mode) *scene {
	t.Helper()
	s := &scene{
		name: service + ", " + string(mode), mode: mode, lease: lease, ledger: newLedger(),
		effects: func() (map[string][]string, error) { return map[string][]string{}, nil },
	}
	c := config{Mode: mode, Lease: lease, Namespace: testsvc.Name(), Ledger: socket(t, "ledger")}
	server := s.on(t, service)
	listen(t, c.Ledger, s.ledger)

	c.Name, c.Store, c.Socket = "witness", server.URL, socket(t, "witness")
	witness, err := c.serve()
	check.NoError(t, err, "starting the witness")
	t.Cleanup(func() { _ = witness.close() })
	s.witness, s.guard = client(t, c.Socket), witness.guard

	s.network = &network{proxy: testsvc.NewProxy(t, server.Addr)}
	c.Name, c.Socket, c.Patience = "owner", socket(t, "owner"), lease/3 // so that its callers are told something before long
	s.start(t, c, server)
	s.owner = client(t, c.Socket)
	return s
}

// on makes a database on a server.
func (s *scene) on(t *testing.T, service string) *testsvc.Server {
	t.Helper()
	var db *sql.DB
	var err error
	var server *testsvc.Server
	switch service {
	case "redis":
		return testsvc.SharedRedis(t)
	case "postgres":
		server = testsvc.SharedPostgres(t).Database()
		_, err = pgstore.Migrate(t.Context(), server.URL, pgstore.Latest, nil)
		check.NoError(t, err, "migrating")
		db, err = sql.Open("pgx", server.URL)
	default:
		server = testsvc.SharedMariaDB(t).Database()
		_, err = mysqlstore.Migrate(t.Context(), server.URL, mysqlstore.Latest, nil)
		check.NoError(t, err, "migrating")
		db, err = sql.Open("mysql", server.DSN())
	}
	check.NoError(t, err, "opening the database")
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), makeTable)
	check.NoError(t, err, "making the table of effects")
	s.effects = func() (map[string][]string, error) { return effects(db) }
	return server
}

func effects(db *sql.DB) (map[string][]string, error) {
	rows, err := db.Query(allEffect)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[string][]string{}
	for rows.Next() {
		var name, answer string
		if err := rows.Scan(&name, &answer); err != nil {
			return nil, err
		}
		all[name] = append(all[name], answer)
	}
	return all, rows.Err()
}

// start starts an owner behind a proxy, and where there can be one in a network of its own.
func (s *scene) start(t *testing.T, c config, server *testsvc.Server) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	if namespaces() == nil {
		cmd = exec.Command("unshare", "--net", os.Args[0])
	}
	cmd.Env, cmd.Stderr = append(os.Environ(), variable+"=yes"), new(strings.Builder)
	in, err := cmd.StdinPipe()
	check.NoError(t, err, "standard input")
	out, err := cmd.StdoutPipe()
	check.NoError(t, err, "standard output")
	check.NoError(t, cmd.Start(), "starting an owner")
	lines := bufio.NewReader(out)
	said, _ := lines.ReadString('\n')
	check.Equal(t, said, "awake\n", "what an owner says at first")
	address := s.network.proxy.Addr
	if namespaces() == nil {
		s.network.space, address, err = newNamespace(t, cmd.Process.Pid, address)
		check.NoError(t, err, "making a network")
	}
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, lines)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the owner of %s: %v: %s", s.name, err, cmd.Stderr)
		}
	})
	c.Store = strings.Replace(server.URL, server.Addr, address, 1)
	check.NoError(t, json.NewEncoder(in).Encode(c), "telling an owner what to do")
	said, _ = lines.ReadString('\n')
	check.Equal(t, said, "serving\n", "what an owner says then")
}

// socket is a short name, as those of sockets have to be.
func socket(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "cut") //nolint:usetesting // that of the test is too long
	check.NoError(t, err, "making a folder")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, name)
}

func listen(t *testing.T, socket string, h http.Handler) {
	t.Helper()
	listener, err := net.Listen("unix", socket)
	check.NoError(t, err, "listening")
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
}

func client(t *testing.T, socket string) *http.Client {
	t.Helper()
	transport := over(socket)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}
