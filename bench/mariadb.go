package main

import (
	"context"
	"database/sql"
	"log/slog"
	"net/url"

	"github.com/go-sql-driver/mysql"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/mysqlstore"
)

// openMariaDB starts a MariaDB and opens what is measured on it.
func openMariaDB() (*database, error) {
	server, err := startMariaDB()
	if err != nil {
		return nil, err
	}
	return openDatabase(server, openMariaDBClient, mariadbDialect)
}

var mariadbDialect = &dialect{
	tables: []string{
		"CREATE TABLE plain (id BINARY(32) PRIMARY KEY, owner BINARY(16) NOT NULL, state TINYINT NOT NULL, at DATETIME(6) NOT NULL," +
			" until DATETIME(6) NOT NULL, fingerprint BLOB NOT NULL, operation BLOB NOT NULL, outcome BLOB, KEY (until)) ENGINE = InnoDB",
		"CREATE TABLE payments (number BIGINT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(100) NOT NULL, cents BIGINT NOT NULL," +
			" note VARCHAR(1000) NOT NULL) ENGINE = InnoDB",
	},
	insert: "INSERT INTO plain VALUES (?, ?, 1, NOW(6), NOW(6) + INTERVAL 30 DAY, ?, ?, NULL)",
	update: "UPDATE plain SET state = 2, at = NOW(6), until = NOW(6) + INTERVAL 1 DAY, outcome = ?" +
		" WHERE id = ? AND owner = ? AND state = 1",
	read:   "SELECT owner, state, fingerprint, operation, outcome FROM plain WHERE id = ?",
	effect: "INSERT INTO payments (customer, cents, note) VALUES ('customer 7', ?, 'two tickets, row 12')",
	keep: []string{
		"UPDATE onceward_records SET begun_at = begun_at - INTERVAL 1 MINUTE", // a replay of what was done just now writes
		"CREATE TABLE kept_records LIKE onceward_records", "CREATE TABLE kept_plain LIKE plain",
		copyOf("onceward_records", "kept_records"), copyOf("plain", "kept_plain"),
	},
	reset: []string{
		"TRUNCATE onceward_records", "TRUNCATE onceward_trail", "TRUNCATE plain", "TRUNCATE payments",
		copyOf("kept_records", "onceward_records"), copyOf("kept_plain", "plain"), "ANALYZE TABLE onceward_records, plain",
	},
	settle:  []string{"ANALYZE TABLE onceward_records, plain"},
	logged:  "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Innodb_lsn_current'",
	version: "SELECT VERSION()",
}

func copyOf(from, to string) string { return "INSERT INTO " + to + " SELECT * FROM " + from }

// mariadbClient prepares what takes arguments, which pgx does by itself and the pool of database/sql leaves to its user.
type mariadbClient struct {
	ctx      context.Context //nolint:containedctx // that of all its calls
	db       *sql.DB
	prepared map[string]*sql.Stmt
}

func openMariaDBClient(ctx context.Context, d *database) (sqlClient, error) {
	if _, err := mysqlstore.Migrate(ctx, d.server.url, mysqlstore.Latest, nil); err != nil {
		return nil, err
	}
	db, err := d.mariadbPool()
	return &mariadbClient{ctx, db, map[string]*sql.Stmt{}}, err
}

func (d *database) mariadbPool() (*sql.DB, error) {
	u, err := url.Parse(d.server.url)
	if err != nil {
		return nil, err
	}
	c := mysql.NewConfig()
	c.Net, c.Addr, c.DBName, c.User, c.Passwd = "tcp", u.Host, account, account, d.server.password
	c.Logger = &mysql.NopLogger{} // what it says is in the errors too
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(connectionsToSQL)
	db.SetMaxIdleConns(connectionsToSQL)
	d.closing(func() { _ = db.Close() })
	return db, nil
}

func (c *mariadbClient) prepare(statements ...string) (err error) {
	for _, statement := range statements {
		if c.prepared[statement], err = c.db.PrepareContext(c.ctx, statement); err != nil { //nolint:sqlclosecheck // the pool is closed
			return err
		}
	}
	return nil
}

func (c *mariadbClient) exec(statement string, args ...any) (int64, error) {
	var result sql.Result
	var err error
	if s, ok := c.prepared[statement]; ok {
		result, err = s.ExecContext(c.ctx, args...)
	} else {
		result, err = c.db.ExecContext(c.ctx, statement, args...)
	}
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

func (c *mariadbClient) row(statement string, args ...any) scanner {
	if s, ok := c.prepared[statement]; ok {
		return s.QueryRowContext(c.ctx, args...)
	}
	return c.db.QueryRowContext(c.ctx, statement, args...)
}

func (c *mariadbClient) hasty() (sqlClient, func() error, error) {
	flush := func(when string) error {
		_, err := c.exec("SET GLOBAL innodb_flush_log_at_trx_commit = " + when)
		return err
	}
	return c, func() error { return flush("1") }, flush("0")
}

func (c *mariadbClient) openStore(audit driver.AuditLevel) (sqlStore, error) {
	return mysqlstore.New(c.db, &mysqlstore.Options{Audit: audit, Logger: slog.New(slog.DiscardHandler)})
}

func (c *mariadbClient) doTx(guard *onceward.Guard, store driver.Store, n int, told func()) (string, error) {
	s := store.(*mysqlstore.Store) //nolint:forcetypeassert // it is of openStore
	return mysqlstore.DoTx(c.ctx, guard, s, paymentKey(n), n, func(ctx context.Context, tx *sql.Tx) (string, error) {
		told()
		payment := tx.StmtContext(ctx, c.prepared[mariadbDialect.effect]) //nolint:sqlclosecheck // it ends with the transaction
		_, err := payment.ExecContext(ctx, n)
		return theReceipt, err
	})
}
