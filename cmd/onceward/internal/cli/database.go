package cli

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/onceward/onceward/mysqlstore"
	"github.com/onceward/onceward/pgstore"
)

// database is one whose tables can be migrated.
type database struct {
	shown   string // its URL
	latest  int
	files   embed.FS
	list    func(ctx context.Context) ([]migration, error)
	migrate func(ctx context.Context, to int) error
}

// databaseAt is nil where there are no tables.
func databaseAt(at location) *database {
	switch {
	case slices.Contains(postgresSchemes, at.scheme):
		return postgresAt(at)
	case slices.Contains(mysqlSchemes, at.scheme):
		return mysqlAt(at)
	default:
		return nil
	}
}

func postgresAt(at location) *database {
	var opts pgstore.Options
	url, schema := takeParameter(at.url, schemaParameter)
	opts.Schema = schema
	d := &database{shown: at.shown, latest: pgstore.Latest, files: pgstore.Migrations}
	d.list = steps(func(m pgstore.Migration) migration { return applied(m.Version, m.Name, m.Applied) },
		func(ctx context.Context) ([]pgstore.Migration, error) {
			return pgstore.MigrationStatus(ctx, url, &opts)
		})
	d.migrate = func(ctx context.Context, to int) error {
		_, err := pgstore.Migrate(ctx, url, to, &opts)
		return err
	}
	return d
}

func mysqlAt(at location) *database {
	var opts mysqlstore.Options
	url, prefix := takeParameter(at.url, prefixParameter)
	opts.Prefix = prefix
	d := &database{shown: at.shown, latest: mysqlstore.Latest, files: mysqlstore.Migrations}
	d.list = steps(func(m mysqlstore.Migration) migration { return applied(m.Version, m.Name, m.Applied) },
		func(ctx context.Context) ([]mysqlstore.Migration, error) {
			return mysqlstore.MigrationStatus(ctx, url, &opts)
		})
	d.migrate = func(ctx context.Context, to int) error {
		_, err := mysqlstore.Migrate(ctx, url, to, &opts)
		return err
	}
	return d
}

// steps makes migrations of what a store lists.
func steps[Step any](made func(Step) migration, list func(context.Context) ([]Step, error)) func(context.Context) ([]migration, error) {
	return func(ctx context.Context) ([]migration, error) {
		listed, err := list(ctx)
		all := make([]migration, len(listed))
		for i, one := range listed {
			all[i] = made(one)
		}
		return all, err
	}
}

func applied(version int, name string, at time.Time) migration {
	m := migration{Version: version, Name: name}
	if !at.IsZero() {
		m.Applied = &at
	}
	return m
}

// statements returns those of a step, up and down.
func (d *database) statements(version string) (up, down string, err error) {
	entries, err := d.files.ReadDir("migrations")
	if err != nil {
		return "", "", err
	}
	for _, entry := range entries {
		number, name, _ := strings.Cut(entry.Name(), "_")
		if strings.TrimLeft(number, "0") != version {
			continue
		}
		text, err := d.files.ReadFile("migrations/" + entry.Name())
		if err != nil {
			return "", "", err
		}
		if strings.HasSuffix(name, ".up.sql") {
			up = string(text)
		} else {
			down = string(text)
		}
	}
	if up == "" {
		return "", "", fmt.Errorf("there is no version %s: want 1 to %d", version, d.latest)
	}
	return up, down, nil
}
