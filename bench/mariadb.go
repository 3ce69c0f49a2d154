package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	ctx, cancel := context.WithCancel(context.Background()) // the context of a request can end
	d := &database{server: server, cancel: cancel}
	if err := d.openMariaDB(ctx); err != nil {
		return nil, errors.Join(err, d.end())
	}
	return d, nil
}

func (d *database) openMariaDB(ctx context.Context) error {
	if _, err := mysqlstore.Migrate(ctx, d.server.url, mysqlstore.Latest, nil); err != nil {
		return err
	}
	db, err := d.mariadbPool()
	if err != nil {
		return err
	}
	p := &plainMariaDB{ctx: ctx, db: db}
	if err := p.make(); err != nil {
		return err
	}
	store, err := d.mysqlstore(db, driver.AuditOff)
	if err != nil {
		return err
	}
	audited, err := d.mysqlstore(db, driver.AuditTransitions)
	if err != nil {
		return err
	}
	guard, err := onceward.New(store, nil)
	if err != nil {
		return err
	}
	d.closing(func() { _ = guard.Close(ctx) })

	d.plain, d.store, d.audited = p, &pairs{ctx, store, idOf, theClaim()}, &pairs{ctx, audited, idOf, theClaim()}
	d.hasty = func() (freshAndReplay, func() error, error) {
		const flush = "SET GLOBAL innodb_flush_log_at_trx_commit = "
		return p, func() error { return p.each(flush + "1") }, p.each(flush + "0")
	}
	d.effect, d.three, d.doOnce = p.effect, p.three, doOnce(ctx, guard, p.effect)
	d.doTx = ran(func(n int, told func()) (string, error) {
		return mysqlstore.DoTx(ctx, guard, store, paymentKey(n), n, func(ctx context.Context, tx *sql.Tx) (string, error) {
			told()
			_, err := tx.StmtContext(ctx, p.payment).ExecContext(ctx, n) //nolint:sqlclosecheck // it ends with the transaction
			return theReceipt, err
		})
	})
	p.upkeep(d)
	return db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&d.version)
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

func (d *database) mysqlstore(db *sql.DB, audit driver.AuditLevel) (*mysqlstore.Store, error) {
	s, err := mysqlstore.New(db, &mysqlstore.Options{Audit: audit, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	d.closing(s.Close)
	return s, nil
}

// plainMariaDB is as plainPostgres, and prepared, which the pool of database/sql leaves to its user.
type plainMariaDB struct {
	ctx context.Context //nolint:containedctx // that of all its calls
	db  *sql.DB

	insert, update, read, payment *sql.Stmt
}

func (p *plainMariaDB) make() error {
	err := p.each(
		"CREATE TABLE plain (id BINARY(32) PRIMARY KEY, owner BINARY(16) NOT NULL, state TINYINT NOT NULL, at DATETIME(6) NOT NULL,"+
			" until DATETIME(6) NOT NULL, fingerprint BLOB NOT NULL, operation BLOB NOT NULL, outcome BLOB, KEY (until)) ENGINE = InnoDB",
		"CREATE TABLE payments (number BIGINT AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(100) NOT NULL, cents BIGINT NOT NULL,"+
			" note VARCHAR(1000) NOT NULL) ENGINE = InnoDB",
	)
	for text, to := range map[string]**sql.Stmt{
		"INSERT INTO plain VALUES (?, ?, 1, NOW(6), NOW(6) + INTERVAL 30 DAY, ?, ?, NULL)": &p.insert,
		"UPDATE plain SET state = 2, at = NOW(6), until = NOW(6) + INTERVAL 1 DAY, outcome = ?" +
			" WHERE id = ? AND owner = ? AND state = 1": &p.update,
		"SELECT owner, state, fingerprint, operation, outcome FROM plain WHERE id = ?":                 &p.read,
		"INSERT INTO payments (customer, cents, note) VALUES ('customer 7', ?, 'two tickets, row 12')": &p.payment,
	} {
		if err != nil {
			break
		}
		*to, err = p.db.PrepareContext(p.ctx, text) //nolint:sqlclosecheck // the pool is closed
	}
	return err
}

// upkeep is what is done between samples.
func (p *plainMariaDB) upkeep(d *database) {
	d.keep = func() error {
		return p.each("CREATE TABLE kept_records LIKE onceward_records", "CREATE TABLE kept_plain LIKE plain",
			copyOf("onceward_records", "kept_records"), copyOf("plain", "kept_plain"))
	}
	d.reset = func() error {
		return p.each("TRUNCATE onceward_records", "TRUNCATE onceward_trail", "TRUNCATE plain", "TRUNCATE payments",
			copyOf("kept_records", "onceward_records"), copyOf("kept_plain", "plain"), "ANALYZE TABLE onceward_records, plain")
	}
	d.settle = func() error { return p.each("ANALYZE TABLE onceward_records, plain") }
	d.logged = func() (n uint64, err error) {
		var name string
		err = p.db.QueryRowContext(p.ctx, "SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'").Scan(&name, &n)
		return n, err
	}
}

func copyOf(from, to string) string { return "INSERT INTO " + to + " SELECT * FROM " + from }

func (p *plainMariaDB) each(statements ...string) error {
	for _, statement := range statements {
		if _, err := p.db.ExecContext(p.ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func (p *plainMariaDB) begin(n int) error {
	id, c := idOf(n), theClaim()
	_, err := p.insert.ExecContext(p.ctx, id[:], c.Owner[:], []byte(c.Fingerprint.Sum), []byte(c.Labels.Operation))
	return err
}

func (p *plainMariaDB) end(n int) error {
	id, c := idOf(n), theClaim()
	result, err := p.update.ExecContext(p.ctx, theAnswer, id[:], c.Owner[:])
	if err != nil {
		return err
	}
	changed, err := result.RowsAffected()
	if err == nil && changed != 1 {
		err = fmt.Errorf("the fresh key %d does not run", n)
	}
	return err
}

func (p *plainMariaDB) effect(n int) error {
	_, err := p.payment.ExecContext(p.ctx, n)
	return err
}

func (p *plainMariaDB) fresh(n int) error { return inTurn(n, p.begin, p.end) }

func (p *plainMariaDB) three(n int) error { return inTurn(n, p.begin, p.effect, p.end) }

func (p *plainMariaDB) replay(n int) error {
	var r [4][]byte
	var state int64
	id := idOf(n)
	err := p.read.QueryRowContext(p.ctx, id[:]).Scan(&r[0], &state, &r[1], &r[2], &r[3])
	if err == nil && len(r[3]) != len(theAnswer) {
		err = fmt.Errorf("the done key %d has an answer of %d bytes", n, len(r[3]))
	}
	return err
}
