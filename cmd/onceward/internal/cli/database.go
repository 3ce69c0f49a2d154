package cli

import (
	"context"
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/onceward/onceward/mysqlstore"
	"github.com/onceward/onceward/pgstore"
)

// database is one whose tables can be migrated.
type database struct {
	shown   string // its URL
	latest  int
	files   embed.FS
	status  func(ctx context.Context) ([]pgstore.Migration, error) // which are those of mysqlstore too
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
	url, schema := takeParameter(at.url, schemaParameter)
	opts := pgstore.Options{Schema: schema}
	return &database{
		shown: at.shown, latest: pgstore.Latest, files: pgstore.Migrations,
		status: func(ctx context.Context) ([]pgstore.Migration, error) {
			return pgstore.MigrationStatus(ctx, url, &opts)
		},
		migrate: func(ctx context.Context, to int) error {
			_, err := pgstore.Migrate(ctx, url, to, &opts)
			return err
		},
	}
}

func mysqlAt(at location) *database {
	url, prefix := takeParameter(at.url, prefixParameter)
	opts := mysqlstore.Options{Prefix: prefix}
	return &database{
		shown: at.shown, latest: mysqlstore.Latest, files: mysqlstore.Migrations,
		status: func(ctx context.Context) ([]pgstore.Migration, error) {
			return mysqlstore.MigrationStatus(ctx, url, &opts)
		},
		migrate: func(ctx context.Context, to int) error {
			_, err := mysqlstore.Migrate(ctx, url, to, &opts)
			return err
		},
	}
}

// list returns all steps as they are printed.
func (d *database) list(ctx context.Context) ([]migration, error) {
	status, err := d.status(ctx)
	all := make([]migration, len(status))
	for i, m := range status {
		all[i] = migration{Version: m.Version, Name: m.Name}
		if !m.Applied.IsZero() {
			all[i].Applied = &m.Applied
		}
	}
	return all, err
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
