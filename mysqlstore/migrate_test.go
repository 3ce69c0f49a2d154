package mysqlstore

import (
	"fmt"
	"sync"
	"testing"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

func TestMigrations(t *testing.T) {
	url := testsvc.SharedMariaDB(t).Database().URL
	o := &Options{Prefix: "shop_", Logger: quiet}
	refused := func(want string) {
		t.Helper()
		_, err := Open(url, o)
		check.Equal(t, fmt.Sprint(err), "mysqlstore: "+want, "the error")
	}
	migrate := func(to int, want ...string) {
		t.Helper()
		done, err := Migrate(bg, url, to, o)
		check.NoError(t, err, "Migrate to %d", to)
		var names []string
		for _, m := range done {
			names = append(names, m.Name)
		}
		check.Equal(t, names, want, "what was done on the way to version %d", to)
	}
	const none = "there are no tables shop_*, version 2 is wanted: run onceward migrate up --store URL"
	refused(none)
	migrate(1, "records")
	refused("the tables shop_* have version 1, version 2 is wanted: run onceward migrate up --store URL")
	migrate(Latest, "trail")
	migrate(Latest)
	s := openAt(t, url, o)
	all, err := MigrationStatus(bg, url, o)
	check.NoError(t, err, "MigrationStatus")
	check.True(t, len(all) == Latest && !all[0].Applied.IsZero() && all[1].Name == "trail", "status: %+v", all)
	execute(t, s, "INSERT INTO onceward_migrations VALUES (3, 'of a later release', NOW())")
	refused("the tables shop_* have version 3, of a later release; version 2 is wanted: use that release, or its onceward migrate down")
	execute(t, s, "DELETE FROM onceward_migrations WHERE version = 3")
	execute(t, s, "ALTER TABLE onceward_records ENGINE = Aria")
	refused("the table shop_records has the engine Aria, which knows no transactions: ALTER TABLE shop_records ENGINE = InnoDB")
	migrate(0, "trail", "records")
	refused(none)
	check.Equal(t, ask[int](t, s, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()"), 0, "what is left")
	migrate(Latest, "records", "trail")
	for _, version := range []int{-1, Latest + 1} {
		_, err := Migrate(bg, url, version, o)
		check.Equal(t, fmt.Sprint(err), fmt.Sprintf("mysqlstore: there is no version %d: use 0 to 2", version), "the error")
	}
}

// A step that was interrupted can be made again.
func TestHalfAMigration(t *testing.T) {
	url := testsvc.SharedMariaDB(t).Database().URL
	o := &Options{Prefix: defaultPrefix, Logger: quiet}
	migrated(t, url, o)
	s := openAt(t, url, o)
	execute(t, s, "DELETE FROM onceward_migrations WHERE version = 2")
	done, err := Migrate(bg, url, Latest, o)
	check.NoError(t, err, "Migrate")
	check.Equal(t, len(done), 1, "steps")
	execute(t, s, "DROP TABLE onceward_trail")
	done, err = Migrate(bg, url, 0, o)
	check.NoError(t, err, "Migrate to nothing")
	check.Equal(t, len(done), 2, "steps")
}

// Replicas that start at the same moment migrate once.
func TestMigratingAtOnce(t *testing.T) {
	url := testsvc.SharedMariaDB(t).Database().URL
	var all sync.WaitGroup
	var mu sync.Mutex
	steps := 0
	for range 8 {
		all.Go(func() {
			done, err := Migrate(bg, url, Latest, nil)
			if err != nil {
				t.Errorf("Migrate: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			steps += len(done)
		})
	}
	all.Wait()
	check.Equal(t, steps, Latest, "migrations made by eight at once")
	openAt(t, url, &Options{Prefix: defaultPrefix})
}

// Other tools take the files as they are: the prefix in them is the default.
func TestMigrationsAsTheyAre(t *testing.T) {
	server := testsvc.SharedMariaDB(t).Database()
	tool := poolOf(t, server.URL+"?multiStatements=true")
	run := func(file string) {
		t.Helper()
		text, err := Migrations.ReadFile("migrations/" + file)
		check.NoError(t, err, "%s", file)
		_, err = tool.ExecContext(bg, string(text))
		check.NoError(t, err, "%s", file)
	}
	for range 2 {
		run("0001_records.up.sql")
		run("0002_trail.up.sql")
		s, err := New(poolOf(t, server.URL), &Options{Logger: quiet})
		check.NoError(t, err, "New")
		c := claim()
		pair(t, s, newID(), &c)
		s.Close()
		run("0002_trail.down.sql")
		run("0001_records.down.sql")
	}
}
