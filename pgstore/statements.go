package pgstore

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward/driver"
)

// Migrations are the statements that make and unmake the schema, in files named as golang-migrate and Atlas read them. The
// name of the schema in them is "onceward". Each keeps its version in onceward.migrations, at which [New] looks.
//
//go:embed migrations/*.sql
var Migrations embed.FS

//go:embed sql/*.sql
var files embed.FS

const defaultSchema = "onceward"

var schemas = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,47}$`)

func checkSchema(name string) error {
	if !schemas.MatchString(name) {
		return fmt.Errorf("pgstore: the schema is %q: use up to 48 lower-case letters, digits and underscores, no digit first", name)
	}
	return nil
}

// ours is the schema's name where it stands before a table, and where the schema itself is made.
var ours = regexp.MustCompile(`\b` + defaultSchema + `(\.|;)`)

// inSchema is a statement with the name of the schema in it.
func inSchema(text, schema string) string {
	return ours.ReplaceAllString(text, pgx.Identifier{schema}.Sanitize()+"$1")
}

// statements are the files of the folder sql by name.
type statements map[string]string

// newStatements reads the files for a schema, with the trail if it is kept.
func newStatements(schema string, audited bool) statements {
	told, kept := "", "r.id"
	if audited {
		told, kept = source("told"), "r.*"
	}
	entries, err := files.ReadDir("sql")
	if err != nil {
		panic(err) // it is embedded
	}
	parts := strings.NewReplacer("/*told*/", told, "/*kept*/", kept, "/*row*/", source("row"))
	all := make(statements)
	for _, entry := range entries {
		name := strings.TrimSuffix(entry.Name(), ".sql")
		all[name] = inSchema(parts.Replace(source(name)), schema)
	}
	forget := all["forget"]
	all["forget"] = strings.ReplaceAll(forget, "/*trail*/", "trail")
	all["forget_rest"] = strings.ReplaceAll(forget, "/*trail*/", "trail_rest")
	return all
}

var comments = regexp.MustCompile(`(?m)^\s*--.*\n`)

func source(name string) string {
	text, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err) // it is embedded
	}
	return comments.ReplaceAllString(string(text), "")
}

// The arguments that many statements share.

// micros is d in the unit of the tables, and what is there stays there.
func micros(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Microsecond) + 1
}

func claimArgs(id driver.ID, c *driver.Claim) []any {
	l := &c.Labels
	return withNote([]any{
		id[:], c.Owner[:], []byte(c.Fingerprint.Algorithm), []byte(c.Fingerprint.Sum),
		int64(c.OnCrash), int64(c.MaxAttempts), micros(c.MaxExecution), micros(c.Lease), micros(c.Retain), micros(c.DoubtRetain),
		l.KeyTag[:], l.ScopeTag[:], []byte(l.Operation), []byte(l.KeyHint), []byte(l.Route), []byte(l.Host),
	}, &c.Note)
}

// leaseArgs are those of a key that goes on.
func leaseArgs(id driver.ID, c *driver.Claim) []any {
	return withNote([]any{id[:], c.Owner[:], micros(c.Lease), micros(c.Retain), micros(c.DoubtRetain)}, &c.Note)
}

func withNote(args []any, n *driver.Note) []any {
	return append(args, []byte(n.Actor), []byte(n.Reason), []byte(n.TraceID), []byte(n.Node))
}
