package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

var postgresService = &service{
	name: "PostgreSQL", program: "postgres", debian: "postgresql", ready: "database system is ready to accept",
	signal: "QUIT", logs: true, // a KILL would leave its shared memory behind
}

var mariadbService = &service{
	name: "MariaDB", program: "mariadbd", debian: "mariadb-server", ready: "ready for connections", signal: "KILL", logs: true,
}

const account = "onceward" // also the database of MariaDB

// sqlServer is a database server of its own, with nothing in it.
type sqlServer struct {
	running  *running
	as       *syscall.Credential // nil: whoever runs this program
	dir      string
	password string
	url      string
}

// newSQLServer makes the directory. It stands beside those of others, because nobody else may enter theirs, and these servers
// refuse to run as root.
func newSQLServer(account string) (*sqlServer, error) {
	dir, err := os.MkdirTemp("", "onceward-bench-"+account+"-")
	if err != nil {
		return nil, err
	}
	s := &sqlServer{dir: dir, password: rand.Text()}
	if os.Getuid() != 0 {
		return s, nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		return nil, errors.Join(err, s.end())
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := os.Chown(dir, uid, gid); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func (s *sqlServer) path(name string) string { return filepath.Join(s.dir, name) }

// write makes a file that the server may read.
func (s *sqlServer) write(name, text string) error {
	err := os.WriteFile(s.path(name), []byte(text), 0o600)
	if err == nil && s.as != nil {
		err = os.Chown(s.path(name), int(s.as.Uid), int(s.as.Gid))
	}
	return err
}

// run runs a program of the server's package to its end.
func (s *sqlServer) run(of *service, program string, args ...string) error {
	path, err := find(program, of.debian)
	if err != nil {
		return err
	}
	if out, err := command(s.as, s.dir, path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, out)
	}
	return nil
}

func (s *sqlServer) end() error {
	if s.running != nil {
		s.running.end()
	}
	return os.RemoveAll(s.dir)
}

// startPostgres starts a PostgreSQL that does nothing by itself while something is measured. Settings are of the form
// name=value.
func startPostgres(settings ...string) (*sqlServer, error) {
	s, err := newSQLServer("postgres")
	if err != nil {
		return nil, err
	}
	if err := s.startPostgres(settings); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func (s *sqlServer) startPostgres(settings []string) error {
	if err := s.write("password", s.password); err != nil {
		return err
	}
	err := s.run(postgresService, "initdb", "--pgdata", s.path("data"), "--username", account, "--pwfile", s.path("password"),
		"--auth", "password", "--no-locale", "--encoding", "UTF8", "--no-sync")
	if err != nil {
		return err
	}
	host, port, err := freeAddress()
	if err != nil {
		return err
	}
	args := []string{"-D", s.path("data"), "-p", port}
	for _, setting := range append([]string{
		"listen_addresses=" + host, "unix_socket_directories=", "dynamic_shared_memory_type=mmap",
		"max_connections=200", "shared_buffers=256MB", "max_wal_size=4GB", "checkpoint_timeout=1d", "autovacuum=off",
	}, settings...) {
		args = append(args, "-c", setting)
	}
	s.url = (&url.URL{
		Scheme: "postgres", User: url.UserPassword(account, s.password), Host: net.JoinHostPort(host, port), Path: "/postgres",
		RawQuery: "sslmode=disable&pool_max_conns=" + strconv.Itoa(connectionsToSQL),
	}).String()
	s.running, err = postgresService.start(s.as, s.dir, args...)
	return err
}

// startMariaDB starts a MariaDB whose settings are those it comes with, but for its memory.
func startMariaDB() (*sqlServer, error) {
	s, err := newSQLServer("mysql")
	if err != nil {
		return nil, err
	}
	if err := s.startMariaDB(); err != nil {
		return nil, errors.Join(err, s.end())
	}
	return s, nil
}

func (s *sqlServer) startMariaDB() error {
	start := "CREATE DATABASE " + account + ";\nCREATE USER " + account + "@'%' IDENTIFIED BY '" + s.password + "';\n" +
		"GRANT ALL PRIVILEGES ON *.* TO " + account + "@'%';\n"
	if err := s.write("start.sql", start); err != nil {
		return err
	}
	settings := []string{
		"--no-defaults", "--datadir=" + s.path("data"), "--innodb-log-file-size=256M", "--innodb-buffer-pool-size=256M",
	}
	if err := s.run(mariadbService, "mariadb-install-db", append(settings, "--skip-test-db")...); err != nil {
		return err
	}
	host, port, err := freeAddress()
	if err != nil {
		return err
	}
	s.url = (&url.URL{
		Scheme: "mysql", User: url.UserPassword(account, s.password), Host: net.JoinHostPort(host, port), Path: "/" + account,
	}).String()
	s.running, err = mariadbService.start(s.as, s.dir, append(settings,
		"--bind-address="+host, "--port="+port, "--skip-name-resolve", "--max-connections=200", "--tmpdir="+s.dir,
		"--socket="+s.path("socket"), "--pid-file="+s.path("pid"), "--init-file="+s.path("start.sql"))...)
	return err
}
