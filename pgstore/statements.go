package pgstore

import (
	sqldriver "database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

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
	return arguments(append(make([]argument, 0, 20),
		octets(id[:]), octets(c.Owner[:]), text(c.Fingerprint.Algorithm), text(c.Fingerprint.Sum),
		number(int64(c.OnCrash)), number(int64(c.MaxAttempts)), number(micros(c.MaxExecution)),
		number(micros(c.Lease)), number(micros(c.Retain)), number(micros(c.DoubtRetain)),
		octets(l.KeyTag[:]), octets(l.ScopeTag[:]), text(l.Operation), text(l.KeyHint), text(l.Route), text(l.Host),
	), &c.Note)
}

func completeArgs(id driver.ID, o driver.Owner, out *driver.Outcome) []any {
	return arguments(append(make([]argument, 0, 10),
		octets(id[:]), octets(o[:]), number(int64(out.Kind)), octets(stored(out.Bytes)), octets(digest(out.Bytes)), number(micros(out.Retain)),
	), &out.Note)
}

// leaseArgs are those of a key that goes on.
func leaseArgs(id driver.ID, c *driver.Claim) []any {
	return withNote([]any{id[:], c.Owner[:], micros(c.Lease), micros(c.Retain), micros(c.DoubtRetain)}, &c.Note)
}

func withNote(args []any, n *driver.Note) []any {
	return append(args, []byte(n.Actor), []byte(n.Reason), []byte(n.TraceID), []byte(n.Node))
}

// argument is one that pgx encodes where it is. A []byte or an int64 it would allocate anew, as an element of an array once more.
type argument struct {
	octets []byte // never nil, unless it is a number
	number int64
}

func octets(b []byte) argument { return argument{octets: b} }
func text(s string) argument   { return argument{octets: []byte(s)} }
func number(n int64) argument  { return argument{number: n} }

// arguments are those of a statement, with a note at the end.
func arguments(all []argument, n *driver.Note) []any {
	all = append(all, text(n.Actor), text(n.Reason), text(n.TraceID), text(n.Node))
	args := make([]any, len(all), len(all)+1)
	for i := range all {
		args[i] = &all[i]
	}
	return args
}

var errOtherType = errors.New("pgstore: the column is of another type")

// BytesValue implements [pgtype.BytesValuer].
func (a *argument) BytesValue() ([]byte, error) {
	if a.octets == nil {
		return nil, errOtherType
	}
	return a.octets, nil
}

// Int64Value implements [pgtype.Int64Valuer].
func (a *argument) Int64Value() (pgtype.Int8, error) {
	if a.octets != nil {
		return pgtype.Int8{}, errOtherType
	}
	return pgtype.Int8{Int64: a.number, Valid: true}, nil
}

// Value implements [sqldriver.Valuer], for the modes of pgx that do not ask the server for types.
func (a *argument) Value() (sqldriver.Value, error) {
	if a.octets != nil {
		return a.octets, nil
	}
	return a.number, nil
}
