package pgstore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/onceward/onceward/driver"
)

// runner is where the statements of a verb run: on the pool, or in a transaction of the caller's.
type runner interface {
	// run scans the only row that the statement answers, and reports whether there was one. Its errors are those of a store.
	run(ctx context.Context, statement string, dest []any, args ...any) (found bool, err error)
}

// verbs are the transitions. Each is one statement on the plain path. What needs a second one looks in it whether all is
// still as the first one saw it, and otherwise begins again.
type verbs struct {
	on    runner
	sql   statements
	audit driver.AuditLevel
	locks uint64 // tells its numbers from those of other schemas in the database
}

// lockOf is the number by which those who take keys in transactions keep out of each other's way.
func (v *verbs) lockOf(id driver.ID) int64 {
	return int64(binary.BigEndian.Uint64(id[:8]) ^ v.locks)
}

// locksOf is nothing for the default schema, whose numbers are plain.
func locksOf(schema string) uint64 {
	if schema == defaultSchema {
		return 0
	}
	sum := sha256.Sum256([]byte(schema))
	return binary.BigEndian.Uint64(sum[:8])
}

// Acquire implements [driver.Store].
func (v *verbs) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	return v.acquireArgs(ctx, id, &c, v.acquiring(id, &c))
}

// acquiring are the arguments of acquire, and of acquire_many.
func (v *verbs) acquiring(id driver.ID, c *driver.Claim) []any {
	return append(claimArgs(id, c), &argument{number: v.lockOf(id)})
}

func (v *verbs) acquireArgs(ctx context.Context, id driver.ID, c *driver.Claim, args []any) (driver.Grant, error) {
	for {
		if err := ended(ctx); err != nil {
			return driver.Grant{}, err
		}
		var r row
		found, err := v.on.run(ctx, v.sql["acquire"], r.dest(), args...)
		if err != nil {
			return driver.Grant{}, err
		}
		var g driver.Grant
		if found {
			g, err = v.judge(ctx, id, c, &r)
		} else if isHeld, failed := v.held(ctx, id); isHeld || failed != nil {
			return heldElsewhere(id, c), failed
		}
		if err != nil || g.Verdict != 0 {
			return g, err
		}
	}
}

// held reports whether a transaction that has not ended holds the key, so that there is no row to see yet.
func (v *verbs) held(ctx context.Context, id driver.ID) (isHeld bool, err error) {
	_, err = v.on.run(ctx, v.sql["held"], []any{&isHeld}, v.lockOf(id))
	return isHeld, err
}

// judge says what becomes of a claim on what was seen. No verdict means that it has changed since.
func (v *verbs) judge(ctx context.Context, id driver.ID, c *driver.Claim, r *row) (g driver.Grant, err error) {
	if r.status == taken {
		return granted(id, c), nil
	}
	if err := r.readable(id); err != nil {
		return g, err
	}
	g.Record = r.record(id)
	switch {
	case r.absent() && !r.expired() && r.ownedBy(c.Owner):
		g.Verdict = driver.Lost
	case r.absent():
		return v.acquire(ctx, id, "anew", append(claimArgs(id, c), r.owner, r.fence, r.phase))
	case !c.Matches(g.Record.Fingerprint):
		g.Verdict = driver.Mismatch
	case g.Record.Phase == driver.PhaseDone:
		g.Verdict = driver.Done
	case r.ownedBy(c.Owner):
		return v.acquire(ctx, id, "renew", append(leaseArgs(id, c), r.fence, r.givenUp, v.audit == driver.AuditAll))
	case g.Record.Lease > 0:
		g.Verdict = driver.Running
	case g.Record.Rerunnable():
		return v.acquire(ctx, id, "takeover", append(leaseArgs(id, c), r.owner, r.fence))
	default:
		g.Verdict = driver.InDoubt
	}
	return g, nil
}

// acquire takes a key that is as it was seen.
func (v *verbs) acquire(ctx context.Context, id driver.ID, how string, args []any) (g driver.Grant, err error) {
	var r row
	found, err := v.on.run(ctx, v.sql[how], r.dest(), args...)
	if found && err == nil {
		g = driver.Grant{Verdict: driver.Acquired, Record: r.record(id)}
	}
	return g, err
}

// Extend implements [driver.Store].
func (v *verbs) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	args := append(withNote([]any{id[:], o[:], micros(e.Lease)}, &e.Note), v.audit == driver.AuditAll)
	return v.transition(ctx, id, "extend", args, func(r *row) error {
		return r.lostUnless(r.phase == int64(driver.PhaseRunning) && r.ownedBy(o))
	})
}

// Complete implements [driver.Store].
func (v *verbs) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	return v.transition(ctx, id, "complete", completeArgs(id, o, &out), func(r *row) error {
		return r.afterComplete(o, &out)
	})
}

// stored is the outcome as a column takes it, where nil would be none.
func stored(outcome []byte) []byte {
	if outcome == nil {
		return []byte{}
	}
	return outcome
}

// Release implements [driver.Store].
func (v *verbs) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	for {
		if err := ended(ctx); err != nil {
			return err
		}
		var one int64
		done, err := v.on.run(ctx, v.sql["release"], []any{&one}, withNote([]any{id[:], o[:]}, &n)...)
		if done || err != nil {
			return err
		}
		done, err = v.on.run(ctx, v.sql["refuse"], []any{&one}, id[:], o[:])
		if done || err != nil {
			return err
		}
		again, err := v.diagnose(ctx, id, func(r *row) error {
			return r.lostUnless(r.phase == int64(driver.PhaseRunning) && r.ownedBy(o))
		})
		if !again {
			return err
		}
	}
}

// Resolve implements [driver.Store].
func (v *verbs) Resolve(ctx context.Context, id driver.ID, res driver.Resolution) error {
	args, how := []any{id[:], int64(res.Fence), res.Force}, "free"
	if out := res.Outcome; out != nil {
		args, how = append(args, int64(out.Kind), stored(out.Bytes), digest(out.Bytes), micros(out.Retain)), "resolve"
	}
	return v.transition(ctx, id, how, withNote(args, &res.Note), func(r *row) error {
		seen := r.record(id)
		return r.lostUnless(seen.Fence == res.Fence && (res.Force || seen.InDoubt()))
	})
}

// transition makes one, and otherwise asks the record why not. There is no reason if the record has changed since, and then
// it is made after all.
func (v *verbs) transition(ctx context.Context, id driver.ID, how string, args []any, why func(r *row) error) error {
	for {
		if err := ended(ctx); err != nil {
			return err
		}
		var one int64
		done, err := v.on.run(ctx, v.sql[how], []any{&one}, args...)
		if done || err != nil {
			return err
		}
		if again, err := v.diagnose(ctx, id, why); !again {
			return err
		}
	}
}

// diagnose reads what a statement did not find.
func (v *verbs) diagnose(ctx context.Context, id driver.ID, why func(r *row) error) (again bool, err error) {
	var r row
	found, err := v.on.run(ctx, v.sql["get"], r.dest(), id[:])
	switch {
	case err != nil:
	case !found:
		err = driver.ErrLost
	default:
		if err = r.readable(id); err == nil {
			err = why(&r)
		}
	}
	if errors.Is(err, errRepeated) {
		return false, nil
	}
	return err == nil, err
}

// lostUnless says that the call was rightly refused, unless the record is now such that it need not be.
func (r *row) lostUnless(legal bool) error {
	if legal && !r.absent() {
		return nil
	}
	return driver.ErrLost
}

var errRepeated = errors.New("pgstore: it had been done already")

// afterComplete says why a Complete found no running record of its owner's.
func (r *row) afterComplete(o driver.Owner, out *driver.Outcome) error {
	mine := r.ownedBy(o) && !r.absent()
	if mine && r.phase == int64(driver.PhaseDone) && !r.resolved && r.kind == int64(out.Kind) && bytes.Equal(r.outcome, out.Bytes) {
		return errRepeated
	}
	return r.lostUnless(mine && r.phase == int64(driver.PhaseRunning))
}

// Get implements [driver.Store].
func (v *verbs) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	absent := driver.Record{ID: id}
	if err := ended(ctx); err != nil {
		return absent, err
	}
	var r row
	found, err := v.on.run(ctx, v.sql["get"], r.dest(), id[:])
	if !found || err != nil {
		return absent, err
	}
	if err := r.readable(id); err != nil {
		return absent, err
	}
	return r.record(id), nil
}

func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("pgstore: nothing done: %w", err)
	}
	return nil
}
