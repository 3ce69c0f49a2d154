package control

import (
	"context"
	"errors"
	"fmt"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
)

// Resolution is how an operator ends a doubt; see [driver.Resolution].
type Resolution struct {
	ID    string `json:"id"`    // the whole id
	Fence uint64 `json:"fence"` // the one that the operator saw
	// Outcome is answer or tombstone. Without one the key becomes free, and the next caller runs.
	Outcome string `json:"outcome,omitempty"`
	Bytes   []byte `json:"bytes,omitempty"` // the outcome's
	Force   bool   `json:"force,omitempty"`
	Actor   string `json:"actor"`
	Reason  string `json:"reason"`
}

// outcome is nil for a key that becomes free.
func (r *Resolution) outcome(note driver.Note) (*driver.Outcome, error) {
	for _, kind := range [...]driver.Kind{driver.Answer, driver.Tombstone} {
		if r.Outcome == kind.String() {
			return &driver.Outcome{Kind: kind, Bytes: r.Bytes, Note: note}, nil
		}
	}
	if r.Outcome != "" || len(r.Bytes) > 0 {
		return nil, &Error{Wrong, fmt.Sprintf("%q is no kind of outcome: want answer, tombstone, or nothing at all", r.Outcome)}
	}
	return nil, nil //nolint:nilnil // a key without an outcome is free
}

// Resolve ends the doubt about a key, and returns what it is then. A key that is no longer as the operator saw it stays as
// it is, and the error, which is driver.ErrLost, says what it is.
func (d *Desk) Resolve(ctx context.Context, r Resolution) (Record, error) {
	id, whole, err := parseID(r.ID)
	switch {
	case err != nil:
		return Record{}, err
	case !whole:
		return Record{}, &Error{Wrong, r.ID + " is the beginning of an id: want all of it, so that no other key is resolved"}
	case r.Reason == "":
		return Record{}, &Error{Wrong, "there is no reason: say how it is known what happened"}
	}
	note := driver.Note{Actor: r.Actor, Reason: r.Reason}
	out, err := r.outcome(note)
	if err != nil {
		return Record{}, err
	}
	before, err := d.get(ctx, r.ID)
	if err != nil {
		return Record{}, err
	}
	if before.Labels.Operation == identityOperation {
		return Record{}, &Error{Wrong, "this record is the guard's own: it holds the rules by which keys become ids"}
	}
	err = d.store.Resolve(ctx, id, driver.Resolution{Fence: r.Fence, Outcome: out, Force: r.Force, Note: note})
	switch {
	case errors.Is(err, driver.ErrLost):
		return Record{}, d.lost(ctx, id, r.Fence)
	case errors.Is(err, driver.ErrUnavailable):
		return Record{}, storeError("not resolved", err)
	case err != nil:
		return Record{}, storeError("it is not known whether this resolved the key, look at it again", err)
	}
	if d.opts.Trace != nil {
		d.opts.Trace(ctx, onceward.Trace{
			Step: "resolved", ID: id, Labels: before.Labels, Attempt: before.Attempt, Fence: r.Fence,
			Reason: r.Actor + ": " + r.Reason, // the record of a key that is free keeps neither
		})
	}
	after, err := d.store.Get(ctx, id)
	if err != nil || after.Phase == driver.PhaseAbsent { // it is resolved all the same
		after = freed(&before, note)
		if out != nil {
			after.Phase, after.Outcome = driver.PhaseDone, *out
		}
	}
	return recordOf(&after), nil
}

// freed is what an operator is shown of a key of which nothing is left.
func freed(before *driver.Record, note driver.Note) driver.Record {
	return driver.Record{
		ID: before.ID, Labels: before.Labels, OnCrash: before.OnCrash, Fence: before.Fence,
		Attempt: before.Attempt, MaxAttempts: before.MaxAttempts, MaxExecution: before.MaxExecution, Note: note,
	}
}

// lost says what the key is now.
func (d *Desk) lost(ctx context.Context, id driver.ID, fence uint64) error {
	const nothing = "not resolved, nothing was changed: "
	now, err := d.store.Get(ctx, id)
	switch {
	case err != nil:
		return &Error{Lost, nothing + "the key has changed since you looked, look at it again"}
	case now.Phase == driver.PhaseAbsent:
		return &Error{Lost, nothing + "the key is free by now: it was released or resolved, or its retention is over"}
	case now.Fence != fence:
		return &Error{Lost, fmt.Sprintf("%sthe key is %s now and has fence %d, not %d: it has gone on since you looked; look at it "+
			"again", nothing, now.State(), now.Fence, fence)}
	default:
		return &Error{Lost, fmt.Sprintf("%sthe key is %s, not in doubt, and only force changes that", nothing, now.State())}
	}
}
