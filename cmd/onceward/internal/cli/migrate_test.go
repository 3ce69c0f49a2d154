package cli

import (
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

func TestMigrate(t *testing.T) {
	for name, url := range map[string]string{
		"postgres": testsvc.SharedPostgres(t).Database().URL + "&onceward_schema=shop", // after sslmode
		"mariadb":  testsvc.SharedMariaDB(t).Database().URL + "?onceward_prefix=shop_",
	} {
		t.Run(name, func(t *testing.T) {
			does := func(command string) string {
				code, out, errs := operate(t, append(strings.Fields(command), "--store", url)...)
				check.Equal(t, code, 0, "exit code of %s, which says %s", command, errs)
				return out
			}
			check.Equal(t, strings.Count(does("migrate list"), " no\n"), 2, "steps that are not applied")
			holds(t, does("migrate show 1"), "CREATE TABLE", "records", "DROP TABLE")
			refuses(t, 1, []string{"version 2 is wanted", "onceward migrate up"}, "stats", "--store", url)
			check.Equal(t, does("migrate up"), "1 records applied\n2 trail applied\nthe tables have version 2\n", "migrate up")
			check.Equal(t, does("migrate up"), "the tables have version 2\n", "migrate up again")
			holds(t, does("migrate list --json"), `"applied": "20`)
			check.Equal(t, strings.Count(does("migrate list"), " no\n"), 0, "steps that are not applied after up")
			holds(t, does("stats"), "running")
			holds(t, does("doctor"), "durable", "round trip", "clock")
			check.Equal(t, does("migrate down"), "2 trail taken back\nthe tables have version 1\n", "migrate down")
			refuses(t, 1, []string{"version 1, version 2 is wanted", "onceward migrate up"}, "stats", "--store", url)
			check.Equal(t, does("migrate down --to 0"), "1 records taken back\nthe tables have version 0\n", "migrate down to nothing")
			check.Equal(t, strings.Count(does("migrate list"), " no\n"), 2, "steps that are not applied in the end")
			refuses(t, 2, []string{"no version 7", "1 to 2"}, "migrate", "show", "7", "--store", url)
		})
	}
}

func TestMigrateWantsADatabase(t *testing.T) {
	refuses(t, 2, []string{"redis://localhost has no tables to migrate"}, "migrate", "up", "--store", "redis://localhost")
	refuses(t, 2, []string{"--store is missing"}, "migrate", "list")
}

// refuses checks that a command fails, and what it says.
func refuses(t *testing.T, want int, words []string, args ...string) {
	t.Helper()
	code, _, errs := operate(t, args...)
	check.Equal(t, code, want, "exit code of %s, which says %s", strings.Join(args, " "), errs)
	holds(t, errs, words...)
}
