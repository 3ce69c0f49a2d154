package mysqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
)

// Acquire implements [driver.Store]. A new key is one statement. A known one is two, because whoever looked first would pay
// for it with every new key, and they are nearly all.
func (s *Store) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (g driver.Grant, err error) {
	fresh := newRow(id, &c, 1)
	if err := s.ready(ctx, fresh); err != nil {
		return g, err
	}
	if s.audit == driver.AuditOff {
		err = s.session().write(ctx, s.stmt.insert, fresh)
	} else {
		err = s.inTx(ctx, func(v verbs) error { return v.begin(ctx, fresh) })
	}
	switch {
	case err == nil:
		return driver.Grant{Verdict: driver.Acquired, Record: fresh.Record}, nil
	case !isDuplicate(err):
		return g, failure(err)
	}
	r, err := s.look(ctx, id)
	if err != nil {
		return g, failure(err)
	}
	if verdict := r.verdict(&c); verdict != driver.Acquired {
		return driver.Grant{Verdict: verdict, Record: r.record(id)}, nil
	}
	err = s.inTx(ctx, func(v verbs) error {
		g, err = v.acquire(ctx, id, &c)
		return err
	})
	return g, failure(err)
}

// Extend implements [driver.Store].
func (s *Store) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	if err := s.ready(ctx, &row{Record: driver.Record{Note: e.Note}}); err != nil {
		return err
	}
	return s.transition(ctx, s.stmt.extend, extension(id, o, &e), func(v verbs) error { return v.extend(ctx, id, o, e) })
}

// extension is the arguments of extend.sql.
func extension(id driver.ID, o driver.Owner, e *driver.Extension) []any {
	lease := micros(e.Lease)
	term := &lease
	if lease == 0 {
		term = nil
	}
	return append(append([]any{term, lease, lease == 0}, note(&e.Note)...), id[:], o[:])
}

// Complete implements [driver.Store].
func (s *Store) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	if err := s.ready(ctx, &row{Record: driver.Record{Note: out.Note, Outcome: out}}); err != nil {
		return err
	}
	return s.transition(ctx, s.stmt.complete, completion(id, o, &out), func(v verbs) error { return v.complete(ctx, id, o, &out) })
}

// completion is the arguments of complete.sql.
func completion(id driver.ID, o driver.Owner, out *driver.Outcome) []any {
	retain := micros(out.Retain)
	own := &retain
	if retain == 0 {
		own = nil
	}
	args := append([]any{byte(out.Kind), digest(out.Bytes), some(out.Bytes)}, note(&out.Note)...)
	return append(args, own, id[:], o[:])
}

// Release implements [driver.Store].
func (s *Store) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	if err := s.ready(ctx, &row{Record: driver.Record{Note: n}}); err != nil {
		return err
	}
	return s.transition(ctx, s.stmt.release, []any{id[:], o[:]}, func(v verbs) error { return v.release(ctx, id, o, n) })
}

// Resolve implements [driver.Store]. Operators are in no hurry: it is always a transaction.
func (s *Store) Resolve(ctx context.Context, id driver.ID, res driver.Resolution) error {
	if err := s.ready(ctx, resolved(&res)); err != nil {
		return err
	}
	return failure(s.inTx(ctx, func(v verbs) error { return v.resolve(ctx, id, &res) }))
}

// resolved is what a resolution brings.
func resolved(res *driver.Resolution) *row {
	next := &row{Record: driver.Record{Note: res.Note}}
	if res.Outcome != nil {
		next.Outcome = *res.Outcome
	}
	return next
}

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	if err := ended(ctx); err != nil {
		return driver.Record{ID: id}, err
	}
	r, err := s.look(ctx, id)
	if err != nil {
		return driver.Record{ID: id}, failure(err)
	}
	return r.record(id), nil
}

// settled is how long after its end a record is surely on the disk of the server. A sync that takes as long is one of a disk
// that is about to fail. The longer it is, the more replays have to write.
const settled = 10 * time.Second

// look reads a key to tell of it. InnoDB shows what is committed before it is on its disk, so that a crash could take back an
// outcome that somebody was told. A later commit has the log of all earlier ones written with its own, so a done record that is
// young is answered after one.
func (s *Store) look(ctx context.Context, id driver.ID) (*row, error) {
	for {
		r, err := s.session().row(ctx, s.stmt.read, id)
		if err != nil || r.absent() || r.Phase != driver.PhaseDone || r.Age >= settled {
			return r, err
		}
		changed, err := s.session().confirm(ctx, r)
		if err != nil {
			return nil, unconfirmed(err)
		}
		if changed {
			return r, nil
		}
	}
}

// unconfirmed is the error of a confirmation: whether it happened does not matter.
func unconfirmed(err error) error {
	if known := failure(err); errors.Is(known, driver.ErrUnavailable) {
		return known
	}
	return fmt.Errorf("%w: mysqlstore: it is not known whether the record is on the server's disk yet: %w", driver.ErrUnavailable, err)
}

// transition makes a plain statement, which changes a row that is running, and the caller's. When there is no such row, or
// when the step has to be told, a transaction looks closer.
func (s *Store) transition(ctx context.Context, plain *sql.Stmt, args []any, closer func(v verbs) error) error {
	if s.audit == driver.AuditOff {
		changed, err := s.session().change(ctx, plain, args...)
		if err != nil || changed > 0 {
			return failure(err)
		}
	}
	return failure(s.inTx(ctx, closer))
}

// ready reports why a call is not even begun: its context has ended, or what it brings does not fit. Without a strict
// sql_mode the server would cut it off silently.
func (s *Store) ready(ctx context.Context, next *row) error {
	if err := ended(ctx); err != nil {
		return err
	}
	const most = 1<<16 - 1 // of a BLOB
	l, f, n := &next.Labels, &next.Fingerprint, &next.Note
	for _, part := range []struct{ name, text string }{
		{"fingerprint's algorithm", f.Algorithm},
		{"fingerprint's sum", f.Sum},
		{"operation", l.Operation},
		{"key hint", l.KeyHint},
		{"route", l.Route},
		{"host", l.Host},
		{"actor", n.Actor},
		{"reason", n.Reason},
		{"trace id", n.TraceID},
		{"node", n.Node},
	} {
		if len(part.text) > most {
			return fmt.Errorf("%w: mysqlstore: the %s has %d bytes: at most %d fit", driver.ErrUnavailable, part.name, len(part.text), most)
		}
	}
	const others = 12 * most
	if size := len(next.Outcome.Bytes); size > s.packet-others {
		return fmt.Errorf("%w: mysqlstore: the outcome has %d bytes, and max_allowed_packet of the server is %d: raise it, or keep "+
			"less of large answers", driver.ErrUnavailable, size, s.packet)
	}
	return nil
}

// session makes each statement by itself.
func (s *Store) session() session { return session{stmt: &s.stmt} }

func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("mysqlstore: nothing done: %w", err)
	}
	return nil
}
