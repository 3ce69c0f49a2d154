package mysqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"strings"

	"github.com/onceward/onceward/driver"
)

//go:embed sql/*.sql
var files embed.FS

// statements are prepared: an execution is then one round trip whatever the settings of the pool are, and a read takes half
// the time of one whose text the server has to parse.
type statements struct {
	insert, update, complete, confirm, extend, release, tell *sql.Stmt

	read   *sql.Stmt
	lock   *sql.Stmt // read, and hold the row until the transaction ends
	seize  *sql.Stmt // the same, and an error instead of waiting for others who hold it
	share  *sql.Stmt // read what is committed now, and keep it so until the transaction ends
	take   *sql.Stmt // insert, and an error instead of waiting, where the server can
	probe  *sql.Stmt // share, and an error instead of waiting
	finish *sql.Stmt // update what is still as it was seen
}

// prepare asks the server for all statements, which also shows whether the tables are there and may be used.
func (s *Store) prepare(ctx context.Context) error {
	q := &s.stmt
	for name, to := range map[string]**sql.Stmt{
		"insert": &q.insert, "update": &q.update, "complete": &q.complete, "confirm": &q.confirm, "extend": &q.extend,
		"release": &q.release, "tell": &q.tell,
		"read": &q.read, "lock": &q.lock, "seize": &q.seize, "share": &q.share, "probe": &q.probe, "take": &q.take, "finish": &q.finish,
	} {
		if name == "tell" && s.audit == driver.AuditOff {
			continue // its table may be out of bounds
		}
		st, err := s.db.PrepareContext(ctx, s.text[name]) //nolint:sqlclosecheck // Close does it
		if err != nil {
			return err
		}
		*to, s.prepared = st, append(s.prepared, st)
	}
	return nil
}

// texts are the statements as they are sent, put together and with the names of the tables.
func (s *Store) texts() map[string]string {
	parts := strings.NewReplacer("/*fields*/", source("fields"), "/*columns*/", source("columns"), defaultPrefix, s.prefix)
	texts := make(map[string]string)
	for _, name := range []string{
		"insert", "update", "complete", "confirm", "extend", "release", "tell", "read", "expired", "idle", "sweep", "list", "held", "history",
		"applied",
	} {
		texts[name] = parts.Replace(source(name))
	}
	read := texts["read"]
	texts["lock"] = read + "FOR UPDATE"
	texts["seize"] = read + "FOR UPDATE NOWAIT"
	texts["share"] = read + "LOCK IN SHARE MODE"
	texts["probe"] = read + s.dialect.probe
	texts["take"] = s.dialect.atOnce + texts["insert"]
	texts["finish"] = texts["update"] + "AND owner = ? AND fence = ? AND phase = ?"
	return texts
}

// named puts the tables' prefix in place of the default one.
func (s *Store) named(text string) string { return strings.ReplaceAll(text, defaultPrefix, s.prefix) }

func source(name string) string {
	text, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err) // it is embedded
	}
	return string(text)
}

// session makes statements, each by itself or in a transaction. Its errors are those of the driver.
type session struct {
	stmt *statements
	tx   *sql.Tx // nil: each by itself
}

func (q session) on(ctx context.Context, st *sql.Stmt) *sql.Stmt {
	if q.tx == nil {
		return st
	}
	return q.tx.StmtContext(ctx, st)
}

// change returns how many rows were changed. By itself, a statement that was the victim of a deadlock is made again.
func (q session) change(ctx context.Context, st *sql.Stmt, args ...any) (int64, error) {
	for {
		result, err := q.on(ctx, st).ExecContext(ctx, args...) //nolint:sqlclosecheck // a statement of a transaction ends with it
		switch {
		case err == nil:
			return result.RowsAffected()
		case q.tx != nil || !isDeadlock(err):
			return 0, err
		}
	}
}

// write inserts a row, or replaces one that the transaction holds.
func (q session) write(ctx context.Context, st *sql.Stmt, r *row) error {
	_, err := q.change(ctx, st, append(r.fields(), r.ID[:])...)
	return err
}

// confirm changes nothing but the log of a done row, and reports whether it is still there.
func (q session) confirm(ctx context.Context, r *row) (bool, error) {
	changed, err := q.change(ctx, q.stmt.confirm, r.ID[:], r.owner[:], r.Fence)
	return changed > 0, err
}

// row returns nil if there is none.
func (q session) row(ctx context.Context, st *sql.Stmt, id driver.ID) (*row, error) {
	var outcome []byte
	r, err := scan(q.on(ctx, st).QueryRowContext(ctx, id[:]), &outcome) //nolint:sqlclosecheck // as above
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil //nolint:nilnil // a row that is not there is no error, and its methods know it
	}
	return r, err
}
