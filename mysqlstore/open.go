package mysqlstore

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	mostConnections = 64
	poolParameter   = "pool_max_conns" // as for PostgreSQL
	dialTimeout     = 5 * time.Second
)

// Open returns a store on a pool of its own, which Close ends. The URL is
//
//	mysql://user:password@host:3306/database?tls=true&pool_max_conns=16
//
// or mariadb:// with the same. The pool has at most pool_max_conns connections, 64 without it. The other parameters are those of
// github.com/go-sql-driver/mysql, but autocommit and completion_type always have their defaults. A server that cannot be used is
// an error, as for [New]. Errors do not show the password.
func Open(address string, o *Options) (*Store, error) {
	db, err := connect(address)
	if err != nil {
		return nil, err
	}
	s, err := New(db, o)
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	s.close = func() { _ = db.Close() }
	return s, nil
}

// connect returns a pool on which nothing was done yet.
func connect(address string) (*sql.DB, error) {
	config, connections, err := parse(address)
	if err != nil {
		return nil, err
	}
	if config.Params == nil {
		config.Params = make(map[string]string)
	}
	config.Params["autocommit"], config.Params["completion_type"] = "1", "0" // the server may have others
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("mysqlstore: the address: %w", err)
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetConnMaxLifetime(time.Hour) // so that a name that leads elsewhere is noticed some day
	return db, nil
}

// parse returns also how many connections there may be at once.
func parse(address string) (config *mysql.Config, connections int, err error) {
	u, err := url.Parse(address)
	if err != nil {
		// The error of url.Parse shows the whole address.
		return nil, 0, errors.New("mysqlstore: the address is no URL: characters such as / @ : % in a password have to be escaped")
	}
	switch {
	case u.Scheme != "mysql" && u.Scheme != "mariadb":
		return nil, 0, fmt.Errorf("mysqlstore: %s: unknown scheme: use mysql or mariadb", u.Redacted())
	case u.Host == "" || len(u.Path) < 2:
		return nil, 0, fmt.Errorf("mysqlstore: %s: host or database is missing: use %s://user:password@host:3306/database",
			u.Redacted(), u.Scheme)
	}
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	connections = mostConnections
	if text := u.Query().Get(poolParameter); text != "" {
		if connections, err = strconv.Atoi(text); err != nil || connections < 1 {
			return nil, 0, fmt.Errorf("mysqlstore: %s: %s=%s: use a number of connections, at least 1", u.Redacted(), poolParameter, text)
		}
	}
	config, err = mysql.ParseDSN("tcp(" + net.JoinHostPort(u.Hostname(), port) + ")/?" + driverQuery(u.RawQuery))
	if err != nil {
		return nil, 0, fmt.Errorf("mysqlstore: %s: %w", u.Redacted(), err)
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	config.DBName = u.Path[1:]
	config.MaxAllowedPacket = 0        // ask the server
	config.Logger = &mysql.NopLogger{} // what it says is in the errors too
	if config.Timeout == 0 {
		config.Timeout = dialTimeout
	}
	return config, connections, nil
}

// driverQuery is what of the parameters is the driver's, as it is written: the driver decodes some values, and others not.
func driverQuery(all string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(all, "&"), func(pair string) bool {
		return strings.HasPrefix(pair, poolParameter+"=")
	}), "&")
}
