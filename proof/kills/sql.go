package kills

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/mysqlstore"
	"github.com/onceward/onceward/pgstore"
)

// The effects of Tx and TwoSteps are rows of a table without a key, so that nothing but onceward keeps duplicates out.
const (
	makeTable = "CREATE TABLE effects (name VARCHAR(100) NOT NULL, answer VARCHAR(200) NOT NULL)"
	addEffect = "INSERT INTO effects (name, answer) VALUES ('%s', '%s')"
	allEffect = "SELECT name, COUNT(*) FROM effects GROUP BY name"
)

// openSQLStore opens a store for effects that happen elsewhere.
func (c *config) openSQLStore() (driver.Store, func(), error) {
	log := slog.New(slog.DiscardHandler)
	if strings.HasPrefix(c.Store, "postgres") {
		store, err := pgstore.Open(c.Store, &pgstore.Options{Logger: log})
		return store, func() { store.Close() }, err
	}
	store, err := mysqlstore.Open(c.Store, &mysqlstore.Options{Logger: log})
	return store, func() { store.Close() }, err
}

// openSQL opens a database for effects that happen in it.
func (c *config) openSQL() (operation, func(context.Context) error, error) {
	if strings.HasPrefix(c.Store, "postgres") {
		return c.openPostgres()
	}
	return c.openMySQL()
}

func (c *config) openPostgres() (operation, func(context.Context) error, error) {
	pool, err := pgxpool.New(context.Background(), c.Store)
	if err != nil {
		return nil, nil, err
	}
	store, err := pgstore.New(pool, &pgstore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	guard, err := onceward.New(store, c.options())
	if err != nil {
		return nil, nil, err
	}
	end := ending(guard, func() { store.Close(); pool.Close() })
	if c.Mode == TwoSteps {
		return c.twoSteps(guard, func(ctx context.Context, statement string) error {
			_, err := pool.Exec(ctx, statement)
			return err
		}), end, nil
	}
	return func(ctx context.Context, name string, at func(string)) (string, error) {
		return pgstore.DoTx(ctx, guard, store, keyOf(name), name, func(ctx context.Context, tx pgx.Tx) (string, error) {
			return c.effect(name, at, func(statement string) error {
				_, err := tx.Exec(ctx, statement)
				return err
			})
		})
	}, end, nil
}

func (c *config) openMySQL() (operation, func(context.Context) error, error) {
	db, err := openMySQLDatabase(c.Store)
	if err != nil {
		return nil, nil, err
	}
	store, err := mysqlstore.New(db, &mysqlstore.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	guard, err := onceward.New(store, c.options())
	if err != nil {
		return nil, nil, err
	}
	end := ending(guard, func() { store.Close(); _ = db.Close() })
	if c.Mode == TwoSteps {
		return c.twoSteps(guard, func(ctx context.Context, statement string) error {
			_, err := db.ExecContext(ctx, statement)
			return err
		}), end, nil
	}
	return func(ctx context.Context, name string, at func(string)) (string, error) {
		return mysqlstore.DoTx(ctx, guard, store, keyOf(name), name, func(ctx context.Context, tx *sql.Tx) (string, error) {
			return c.effect(name, at, func(statement string) error {
				_, err := tx.ExecContext(ctx, statement)
				return err
			})
		})
	}, end, nil
}

// twoSteps commits the effect before there is an outcome.
func (c *config) twoSteps(guard *onceward.Guard, exec func(ctx context.Context, statement string) error) operation {
	return func(ctx context.Context, name string, at func(string)) (string, error) {
		return onceward.Do(ctx, guard, keyOf(name), name, func(ctx context.Context) (string, error) {
			return c.effect(name, at, func(statement string) error { return exec(ctx, statement) })
		})
	}
}

func (c *config) effect(name string, at func(string), exec func(statement string) error) (string, error) {
	if err := c.hesitate(); err != nil {
		return "", err
	}
	at(beforeEffect)
	answer := answerTo(name)
	err := exec(fmt.Sprintf(addEffect, name, answer))
	at(afterEffect)
	return answer, err
}

// openMySQLDatabase opens a pool as a user would, from what a URL says.
func openMySQLDatabase(url string) (*sql.DB, error) {
	_, rest, _ := strings.Cut(url, "://")
	login, rest, _ := strings.Cut(rest, "@")
	address, name, _ := strings.Cut(rest, "/")
	config := mysql.NewConfig()
	config.User, config.Passwd, _ = strings.Cut(login, ":")
	config.Net, config.Addr, config.DBName = "tcp", address, name
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}
