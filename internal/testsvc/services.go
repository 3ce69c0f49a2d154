package testsvc

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// service is how a kind of server is started, spoken to and ended.
type service struct {
	name     string
	program  string
	debian   string // the package that has the program
	users    []string
	variable string // names a server that is there already

	settings []string // lines of its configuration file, before those of the test
	ready    string   // what it logs when it answers
	stop     syscall.Signal

	prepare func(*instance) error // makes the data directory
	args    func(*instance) []string
	url     func(*instance) *url.URL

	// The program that runs a statement; its password is in the environment, because everybody can read arguments.
	client string
	sql    func(server *url.URL, statement string) (args []string, secret string)
}

const (
	account = "onceward" // also the database of MariaDB
	config  = "settings.conf"
)

var redis = service{
	name: "redis", program: "redis-server", debian: "redis-server", users: []string{"redis", "nobody"}, variable: "TEST_REDIS_URL",
	settings: []string{
		"bind 127.0.0.1", `save ""`, "appendonly yes", "appendfsync always",
		"repl-diskless-sync-delay 0", // a replica need not wait five seconds for others
	},
	ready: "Ready to accept connections", stop: syscall.SIGTERM,
	args: func(i *instance) []string { return []string{i.path(config), "--port", strconv.Itoa(i.port)} },
	url:  func(i *instance) *url.URL { return &url.URL{Scheme: "redis", Host: i.addr(), Path: "/0"} },
}

var sentinel = service{
	name: "sentinel", program: "redis-server", debian: "redis-server", users: redis.users,
	settings: []string{"bind 127.0.0.1"},
	ready:    "Sentinel ID is", stop: syscall.SIGTERM,
	args: func(i *instance) []string { return append(redis.args(i), "--sentinel") },
	url:  redis.url,
}

var postgres = service{
	name: "postgres", program: "postgres", debian: "postgresql", users: []string{"postgres", "nobody"}, variable: "TEST_POSTGRES_URL",
	settings: []string{
		"listen_addresses = '127.0.0.1'", "unix_socket_directories = ''",
		"dynamic_shared_memory_type = mmap", // in the folder: what is in /dev/shm outlives a kill -9
	},
	ready: "database system is ready to accept", stop: syscall.SIGINT, // SIGTERM would wait for the clients
	prepare: func(i *instance) error {
		if err := i.write("password", []string{i.password}); err != nil {
			return err
		}
		return i.run("initdb", "--pgdata", i.path("data"), "--username", account, "--pwfile", i.path("password"),
			"--auth", "password", "--no-locale", "--encoding", "UTF8", "--no-sync")
	},
	args: func(i *instance) []string {
		data := i.path("data")
		return []string{
			"-D", data, "-p", strconv.Itoa(i.port), "-c", "config_file=" + i.path(config), "-c", "hba_file=" + data + "/pg_hba.conf",
		}
	},
	url: func(i *instance) *url.URL {
		return &url.URL{
			Scheme: "postgres", User: url.UserPassword(account, i.password), Host: i.addr(), Path: "/postgres", RawQuery: "sslmode=disable",
		}
	},
	client: "psql",
	sql: func(server *url.URL, statement string) (args []string, secret string) {
		plain, password := *server, ""
		if server.User != nil {
			password, _ = server.User.Password()
			plain.User = url.User(server.User.Username())
		}
		return []string{"--no-psqlrc", "--quiet", "--command", statement, plain.String()}, "PGPASSWORD=" + password
	},
}

var mariadb = service{
	name: "mariadb", program: "mariadbd", debian: "mariadb-server", users: []string{"mysql", "nobody"}, variable: "TEST_MYSQL_URL",
	settings: []string{
		"[mariadbd]", "bind-address = 127.0.0.1", "skip-name-resolve",
		"innodb_log_file_size = 32M", "innodb_buffer_pool_size = 64M", // the file is written when it is created
	},
	ready: "ready for connections", stop: syscall.SIGTERM,
	prepare: func(i *instance) error {
		err := i.write("start.sql", []string{
			"CREATE DATABASE IF NOT EXISTS " + account + ";",
			"CREATE USER IF NOT EXISTS " + account + "@'%' IDENTIFIED BY '" + i.password + "';",
			"GRANT ALL PRIVILEGES ON *.* TO " + account + "@'%' WITH GRANT OPTION;",
		})
		if err != nil {
			return err
		}
		return i.run("mariadb-install-db", "--defaults-file="+i.path(config), "--datadir="+i.path("data"), "--skip-test-db")
	},
	args: func(i *instance) []string {
		return []string{
			"--defaults-file=" + i.path(config), "--datadir=" + i.path("data"), "--tmpdir=" + i.dir, "--port=" + strconv.Itoa(i.port),
			"--socket=" + i.path("socket"), "--pid-file=" + i.path("pid"), "--init-file=" + i.path("start.sql"),
		}
	},
	url: func(i *instance) *url.URL {
		return &url.URL{Scheme: "mysql", User: url.UserPassword(account, i.password), Host: i.addr(), Path: "/" + account}
	},
	client: "mariadb",
	sql: func(server *url.URL, statement string) (args []string, secret string) {
		host, port, err := net.SplitHostPort(server.Host)
		if err != nil {
			host, port = server.Hostname(), "3306"
		}
		password, _ := server.User.Password()
		return []string{
			"--no-defaults", "--protocol=tcp", "--host=" + host, "--port=" + port, "--user=" + server.User.Username(),
			"--database=" + strings.TrimPrefix(server.Path, "/"), "--execute=" + statement,
		}, "MYSQL_PWD=" + password
	},
}

// find is where a program is. Debian keeps servers where only root's PATH leads, and PostgreSQL where none does.
func find(program, debian string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/*/bin", "/usr/local/opt/*/bin"} {
		if found, _ := filepath.Glob(filepath.Join(dir, program)); len(found) > 0 {
			return slices.Max(found), nil
		}
	}
	install := "apt-get update && apt-get install -y --no-install-recommends " + debian
	if os.Getuid() != 0 {
		install = "sudo sh -c '" + install + "'"
	}
	return "", fmt.Errorf("testsvc: the program %s is missing, which this test needs. Run: %s", program, install)
}

// dsn is the form of a URL that the Go driver for MySQL takes.
func dsn(server *url.URL) string {
	var user strings.Builder
	if server.User != nil {
		user.WriteString(server.User.Username())
		if password, ok := server.User.Password(); ok {
			user.WriteString(":" + password)
		}
		user.WriteString("@")
	}
	text := user.String() + "tcp(" + server.Host + ")" + server.Path
	if server.RawQuery != "" {
		text += "?" + server.RawQuery
	}
	return text
}
