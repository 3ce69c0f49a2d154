package mysqlstore

import (
	"context"
	"errors"

	"github.com/onceward/onceward/driver"
)

// verbs are the transitions in a transaction, which holds the row from the reading on. Whatever the error is, the transaction
// must be rolled back.
type verbs struct {
	session

	audit driver.AuditLevel
}

// errAgain says that somebody made a row after there had been none.
var errAgain = errors.New("mysqlstore: lost a race")

// begin makes the row of a new key.
func (v verbs) begin(ctx context.Context, fresh *row) error {
	if err := v.write(ctx, v.stmt.insert, fresh); err != nil {
		return err
	}
	return v.tell(ctx, fresh, driver.StepAcquired, fresh.Note)
}

func (v verbs) acquire(ctx context.Context, id driver.ID, c *driver.Claim) (driver.Grant, error) {
	r, err := v.row(ctx, v.stmt.lock, id)
	if err != nil {
		return driver.Grant{}, err
	}
	g, err := v.grant(ctx, id, c, r)
	if err == nil && g.Verdict == driver.Done { // since the caller has looked
		_, err = v.confirm(ctx, r)
	}
	return g, err
}

// grant judges a row that is held, nil if there is none, and writes if the claim wins.
func (v verbs) grant(ctx context.Context, id driver.ID, c *driver.Claim, r *row) (g driver.Grant, err error) {
	verdict := r.verdict(c)
	switch {
	case verdict != driver.Acquired:
		return driver.Grant{Verdict: verdict, Record: r.record(id)}, nil
	case r == nil:
		r = newRow(id, c, 1)
		if err = v.begin(ctx, r); isDuplicate(err) {
			err = errAgain
		}
	case r.absent():
		r = newRow(id, c, r.Fence+1)
		err = v.put(ctx, r, driver.StepAcquired, r.Note)
	case r.owner == c.Owner:
		step := v.signOfLife(r)
		r.renew(c)
		err = v.put(ctx, r, step, r.Note)
	default:
		r.takeOver(c)
		err = v.put(ctx, r, driver.StepTakenOver, r.Note)
	}
	return driver.Grant{Verdict: verdict, Record: r.record(id)}, err
}

// mine is the row that is running and belongs to o.
func (v verbs) mine(ctx context.Context, id driver.ID, o driver.Owner) (*row, error) {
	r, err := v.row(ctx, v.stmt.lock, id)
	if err == nil && (r.absent() || r.Phase != driver.PhaseRunning || r.owner != o) {
		err = driver.ErrLost
	}
	return r, err
}

func (v verbs) extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	r, err := v.mine(ctx, id, o)
	if err != nil {
		return err
	}
	step := v.signOfLife(r)
	if micros(e.Lease) == 0 {
		step = giveUp(r, e.Note)
	}
	r.extend(e)
	return v.put(ctx, r, step, e.Note)
}

// complete looks at a done row too, because a Complete may be repeated.
func (v verbs) complete(ctx context.Context, id driver.ID, o driver.Owner, out *driver.Outcome) error {
	r, err := v.row(ctx, v.stmt.lock, id)
	switch {
	case err != nil:
		return err
	case r.absent() || r.owner != o || r.resolved:
		return driver.ErrLost
	case r.Phase == driver.PhaseRunning:
		r.complete(out)
		return v.put(ctx, r, driver.StepCompleted, out.Note)
	case r.same(out): // it may be the first one that is not on the disk yet, see look
		_, err = v.confirm(ctx, r)
		return err
	default:
		return driver.ErrLost
	}
}

// release leaves a residue also where there was nothing: the owner's Acquire may still be on its way.
func (v verbs) release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	r, err := v.row(ctx, v.stmt.lock, id)
	switch {
	case err != nil:
		return err
	case r == nil:
		if err = v.write(ctx, v.stmt.insert, newResidue(id, o, 0, driver.MinResidue)); isDuplicate(err) {
			err = errAgain
		}
		return err
	case r.absent(): // the fence that is remembered here must not be forgotten sooner
		return v.put(ctx, newResidue(id, o, r.Fence, max(driver.MinResidue, r.Left)), 0, n)
	case r.Phase == driver.PhaseRunning && r.owner == o:
		return v.free(ctx, r, driver.StepReleased, n)
	default:
		return driver.ErrLost
	}
}

func (v verbs) resolve(ctx context.Context, id driver.ID, res *driver.Resolution) error {
	r, err := v.row(ctx, v.stmt.lock, id)
	if err != nil {
		return err
	}
	if r.absent() || r.Fence != res.Fence || !r.InDoubt() && !res.Force {
		return driver.ErrLost
	}
	step := driver.StepResolved
	if res.Force {
		r.Fence++
		step = driver.StepForced
	}
	if res.Outcome == nil {
		return v.free(ctx, r, step, res.Note)
	}
	r.complete(res.Outcome)
	r.Note, r.resolved = res.Note, true
	return v.put(ctx, r, step, res.Note)
}

// free leaves the residue of r.
func (v verbs) free(ctx context.Context, r *row, step driver.Step, n driver.Note) error {
	if err := v.write(ctx, v.stmt.update, r.residue()); err != nil {
		return err
	}
	r.Outcome.Kind = 0
	return v.tell(ctx, r, step, n)
}

// put stores the row in the place of the one that is held, and tells of the step if there is one.
func (v verbs) put(ctx context.Context, r *row, step driver.Step, n driver.Note) error {
	if err := v.write(ctx, v.stmt.update, r); err != nil {
		return err
	}
	return v.tell(ctx, r, step, n)
}

// signOfLife is the step of a lease that starts anew. One that had been given up is a transition.
func (v verbs) signOfLife(r *row) driver.Step {
	if r.GivenUp || v.audit == driver.AuditAll {
		return driver.StepExtended
	}
	return 0
}

// giveUp is the step of a lease that is given up, which may have been already.
func giveUp(r *row, n driver.Note) driver.Step {
	if r.GivenUp && r.Note == n {
		return 0
	}
	return driver.StepGivenUp
}

// tell keeps a step of the attempt that r is or, if the key became free, was.
func (v verbs) tell(ctx context.Context, r *row, step driver.Step, n driver.Note) error {
	if v.audit == driver.AuditOff || step == 0 {
		return nil
	}
	l := &r.Labels
	args := append([]any{
		r.ID[:], byte(step), r.Attempt, r.Fence, byte(r.Outcome.Kind), l.KeyTag[:], []byte(l.Operation), []byte(l.KeyHint),
	}, note(&n)...)
	_, err := v.change(ctx, v.stmt.tell, args...)
	return err
}
