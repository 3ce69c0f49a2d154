package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// migrator is what migrate is told.
type migrator struct {
	operator
	to int
}

// migration is a step between two versions of the tables.
type migration struct {
	Version int        `json:"version"`
	Name    string     `json:"name"`
	Applied *time.Time `json:"applied"` // nil if it is not
}

func newMigrate() *cobra.Command {
	const long = `Make and change the tables of a PostgreSQL, MySQL or MariaDB. Proxies and libraries refuse tables of another version, and
never change them: migrate first, with a user who may, and start them then. Each step is safe to repeat, and of several who
migrate at the same moment one does it.`
	return group("migrate", "Make and change the tables of a database", long,
		newMigrateUp(), newMigrateDown(), newMigrateList(), newMigrateShow())
}

func newMigrateUp() *cobra.Command {
	m := &migrator{}
	cmd := &cobra.Command{
		Use: "up", Short: "Bring the tables to the version of this release",
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return m.migrate(cmd, func(d *database, _ []migration) (int, error) { return d.latest, nil })
		},
	}
	m.flags(cmd)
	return cmd
}

func newMigrateDown() *cobra.Command {
	m := &migrator{}
	cmd := &cobra.Command{
		Use: "down", Short: "Take back the newest step, or all down to a version",
		Long: `Take back the newest step, or all down to a version. What the tables of that step hold is lost: without the records a retry runs
again. Stop whoever uses them first.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return m.migrate(cmd, func(_ *database, all []migration) (int, error) {
				if cmd.Flags().Changed("to") {
					return m.to, nil
				}
				for _, step := range slices.Backward(all) {
					if step.Applied != nil {
						return step.Version - 1, nil
					}
				}
				return 0, nil
			})
		},
	}
	cmd.Flags().IntVar(&m.to, "to", 0, "down to this `VERSION`; 0 removes all tables (default: one step)")
	m.flags(cmd)
	return cmd
}

func newMigrateList() *cobra.Command {
	m := &migrator{}
	cmd := &cobra.Command{
		Use: "list", Short: "List all steps, and when each was applied",
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return m.at(cmd, func(ctx context.Context, d *database) error {
				all, err := d.list(ctx)
				if err != nil {
					return err
				}
				return m.print(cmd.OutOrStdout(), all, func() { table(cmd.OutOrStdout(), migrationRows(all)) })
			})
		},
	}
	m.flags(cmd)
	return cmd
}

func newMigrateShow() *cobra.Command {
	m := &migrator{}
	cmd := &cobra.Command{
		Use: "show VERSION", Short: "Print the statements of a step",
		Long: "Print the statements of a step, up and down, for people and for tools that migrate by themselves. The database is not asked.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := m.database(cmd)
			if err != nil {
				return err
			}
			up, down, err := d.statements(args[0])
			if err == nil {
				_, _ = fmt.Fprintf(cmd.OutOrStdout(), "-- up\n%s\n-- down\n%s", up, down)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&m.store, "store", "", "the `URL` of the database")
	return cmd
}

func (m *migrator) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&m.store, "store", "", "the `URL` of the database, such as postgres://HOST/DATABASE; "+storeVariable+" says it too")
	m.jsonFlag(cmd)
}

// migrate brings the tables to the version that target says, and tells what was done.
func (m *migrator) migrate(cmd *cobra.Command, target func(d *database, all []migration) (int, error)) error {
	return m.at(cmd, func(ctx context.Context, d *database) error {
		all, err := d.list(ctx)
		if err != nil {
			return err
		}
		to, err := target(d, all)
		if err != nil {
			return err
		}
		if err := d.migrate(ctx, to); err != nil {
			return err
		}
		now, err := d.list(ctx)
		if err != nil {
			return err
		}
		done := changed(all, now)
		out := cmd.OutOrStdout()
		return m.print(out, done, func() {
			for _, step := range done {
				word := "applied"
				if step.Applied == nil {
					word = "taken back"
				}
				_, _ = fmt.Fprintf(out, "%d %s %s\n", step.Version, step.Name, word)
			}
			_, _ = fmt.Fprintf(out, "the tables have version %d\n", to)
		})
	})
}

// changed returns what was applied or taken back, as it is now.
func changed(before, now []migration) []migration {
	done := []migration{}
	for i, step := range now {
		if (step.Applied == nil) != (before[i].Applied == nil) {
			done = append(done, step)
		}
	}
	return done
}

func (m *migrator) at(cmd *cobra.Command, use func(ctx context.Context, d *database) error) error {
	d, err := m.database(cmd)
	if err != nil {
		return err
	}
	if err := use(cmd.Context(), d); err != nil {
		return failed(fmt.Errorf("--store %s: %w", d.shown, err))
	}
	return nil
}

func (m *migrator) database(cmd *cobra.Command) (*database, error) {
	text := storeText(cmd, m.store)
	if text == "" {
		return nil, errors.New("--store is missing: want the URL of a database, such as postgres://HOST/DATABASE")
	}
	at, err := parseLocation(text)
	if err != nil {
		return nil, err
	}
	d := databaseAt(at)
	if d == nil {
		return nil, fmt.Errorf("--store %s has no tables to migrate: want the URL of a database, such as postgres://HOST/DATABASE", at.shown)
	}
	return d, nil
}

func migrationRows(all []migration) [][]string {
	rows := [][]string{{"VERSION", "NAME", "APPLIED"}}
	for _, step := range all {
		applied := "no"
		if step.Applied != nil {
			applied = step.Applied.UTC().Format(time.RFC3339)
		}
		rows = append(rows, []string{strconv.Itoa(step.Version), step.Name, applied})
	}
	return rows
}
