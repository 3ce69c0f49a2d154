package kills

import (
	"context"
	"database/sql"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/mysqlstore"
	"github.com/onceward/onceward/pgstore"
)

// database is a server with the tables of the store, and one for effects.
func database(t *testing.T, name string) (server *testsvc.Server, effects func() (map[string]int, error)) {
	t.Helper()
	var db *sql.DB
	var err error
	if name == "postgres" {
		server = testsvc.Postgres(t)
		_, err = pgstore.Migrate(t.Context(), server.URL, pgstore.Latest, nil)
		check.NoError(t, err, "migrating")
		db, err = sql.Open("pgx", server.URL)
	} else {
		server = testsvc.MariaDB(t)
		_, err = mysqlstore.Migrate(t.Context(), server.URL, mysqlstore.Latest, nil)
		check.NoError(t, err, "migrating")
		db, err = openMySQLDatabase(server.URL)
	}
	check.NoError(t, err, "opening the database")
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.ExecContext(t.Context(), makeTable)
	check.NoError(t, err, "making the table of effects")
	return server, func() (map[string]int, error) { return count(t.Context(), db) }
}

func count(ctx context.Context, db *sql.DB) (map[string]int, error) {
	rows, err := db.QueryContext(ctx, allEffect)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			return nil, err
		}
		counts[strings.Clone(name)] = n
	}
	return counts, rows.Err()
}

func eachDatabase(t *testing.T, do func(t *testing.T, name string)) {
	t.Helper()
	for _, name := range []string{"postgres", "mariadb"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // half of it is waiting
			do(t, name)
		})
	}
}

// An effect in the transaction of its outcome happens exactly once, wherever the worker dies.
func TestTransactions(t *testing.T) {
	eachDatabase(t, func(t *testing.T, name string) {
		server, effects := database(t, name)
		p := plan{
			Kills: size(20, 3000), Workers: 4, Clients: 16, Freeze: true, Effects: effects, config: config{Mode: Tx, Store: server.URL},
		}
		keptItsPromise(t, p, run(t, p))
	})
}

// The same with the effect committed before its outcome, and run again after a crash: the control has to show duplicates.
func TestTwoStepsShowDuplicates(t *testing.T) {
	eachDatabase(t, func(t *testing.T, name string) {
		server, effects := database(t, name)
		p := plan{Kills: size(20, 500), Workers: 4, Clients: 16, Effects: effects, config: config{Mode: TwoSteps, Store: server.URL}}
		got := run(t, p)
		check.True(t, got.Twice > 0, "effects that happened twice: %+v", got)
	})
}

func TestDatabases(t *testing.T) {
	eachDatabase(t, func(t *testing.T, name string) {
		for _, mode := range []Mode{Hold, Rerun} {
			t.Run(string(mode), func(t *testing.T) {
				server, _ := database(t, name)
				p := plan{Kills: killsIn(mode), Workers: 4, Clients: 16, Freeze: true, config: config{Mode: mode, Store: server.URL}}
				keptItsPromise(t, p, run(t, p))
			})
		}
	})
}
