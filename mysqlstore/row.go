package mysqlstore

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
)

// encoding is the version of what a row means.
const encoding = 1

// row is a record as it is stored. Its durations are by the server's clock at the moment of the reading, so that one which
// is over has nothing left, and one that was released is a residue: absent, but with owner and fence.
type row struct {
	driver.Record

	owner               driver.Owner
	resolved            bool          // ended by an operator, so that the outcome is no owner's
	begun               *int64        // as the server has it; nil for this moment
	term                time.Duration // the length of the lease
	retain, doubtRetain time.Duration
}

func newRow(id driver.ID, c *driver.Claim, fence uint64) *row {
	r := &row{
		Record: driver.Record{
			ID: id, Phase: driver.PhaseRunning, Labels: c.Labels, Fingerprint: c.Fingerprint, OnCrash: c.OnCrash,
			Fence: fence, Attempt: 1, MaxAttempts: c.MaxAttempts, MaxExecution: c.MaxExecution,
		},
		owner: c.Owner,
	}
	r.renew(c)
	return r
}

func newResidue(id driver.ID, o driver.Owner, fence uint64, left time.Duration) *row {
	return &row{Record: driver.Record{ID: id, Fence: fence, Left: left}, owner: o}
}

// absent reports whether callers see no record.
func (r *row) absent() bool { return r == nil || r.Phase == driver.PhaseAbsent || r.Left <= 0 }

// record is the row as callers see it.
func (r *row) record(id driver.ID) driver.Record {
	if r.absent() {
		return driver.Record{ID: id}
	}
	return r.Record
}

// refuses reports whether this is a residue that still names o.
func (r *row) refuses(o driver.Owner) bool {
	return r != nil && r.Phase == driver.PhaseAbsent && r.Left > 0 && r.owner == o
}

func (r *row) verdict(c *driver.Claim) driver.Verdict {
	switch {
	case r.refuses(c.Owner):
		return driver.Lost
	case r.absent():
		return driver.Acquired
	case !c.Matches(r.Fingerprint):
		return driver.Mismatch
	case r.Phase == driver.PhaseDone:
		return driver.Done
	case r.owner == c.Owner:
		return driver.Acquired
	case r.Lease > 0:
		return driver.Running
	case r.Rerunnable():
		return driver.Acquired
	default:
		return driver.InDoubt
	}
}

// renew starts the lease anew for the owner.
func (r *row) renew(c *driver.Claim) {
	r.Lease, r.term, r.GivenUp = c.Lease, c.Lease, false
	r.Left, r.retain, r.doubtRetain = c.DoubtRetain, c.Retain, c.DoubtRetain
	r.Note = c.Note
}

// takeOver starts the next attempt. The fingerprint stays the first one: every claim that matched so far still matches.
func (r *row) takeOver(c *driver.Claim) {
	r.owner, r.begun, r.Age = c.Owner, nil, 0
	r.Fence++
	r.Attempt++
	r.renew(c)
}

func (r *row) extend(e driver.Extension) {
	r.Lease, r.GivenUp, r.Left, r.Note = e.Lease, e.Lease <= 0, r.doubtRetain, e.Note
	if !r.GivenUp { // else the old length stays, for the residue
		r.term = e.Lease
	}
}

func (r *row) complete(out *driver.Outcome) {
	r.Phase, r.Outcome, r.Note, r.begun = driver.PhaseDone, *out, out.Note, nil
	r.Left, r.Lease, r.GivenUp = r.retain, 0, false
	if out.Retain > 0 {
		r.Left = out.Retain
	}
}

// residue is what stays when the key becomes free: twice the lease, or what there was of it before.
func (r *row) residue() *row {
	left := driver.MinResidue
	if r.term > driver.MinResidue/2 {
		left = 2 * min(r.term, longest/2)
	}
	return newResidue(r.ID, r.owner, r.Fence, left)
}

// same reports whether the record is done with this outcome.
func (r *row) same(out *driver.Outcome) bool {
	return r.Outcome.Kind == out.Kind && bytes.Equal(r.Outcome.Bytes, out.Bytes)
}

// fields are the arguments of fields.sql.
func (r *row) fields() []any {
	return []any{
		encoding, byte(r.Phase), r.owner[:], r.Fence, r.Attempt, r.MaxAttempts, byte(r.OnCrash), r.GivenUp, r.resolved,
		r.begun, micros(r.Lease), micros(r.Left),
		micros(r.term), micros(r.MaxExecution), micros(r.retain), micros(r.doubtRetain),
		byte(r.Outcome.Kind), r.Labels.KeyTag[:], r.Labels.ScopeTag[:], []byte(r.Fingerprint.Algorithm), []byte(r.Fingerprint.Sum),
		[]byte(r.Labels.Operation), []byte(r.Labels.KeyHint), []byte(r.Labels.Route), []byte(r.Labels.Host),
		[]byte(r.Note.Actor), []byte(r.Note.Reason), []byte(r.Note.TraceID), []byte(r.Note.Node),
		digest(r.Outcome.Bytes), some(r.Outcome.Bytes),
	}
}

// note is the arguments of a note.
func note(n *driver.Note) []any {
	return []any{[]byte(n.Actor), []byte(n.Reason), []byte(n.TraceID), []byte(n.Node)}
}

// scanner is a *sql.Row or a *sql.Rows.
type scanner interface{ Scan(dest ...any) error }

// scan reads the columns of columns.sql and, if there is somewhere for it, the outcome. Of a row that cannot be read it returns
// the id.
func scan(from scanner, outcome *[]byte) (*row, error) {
	var r row
	var id, owner, keyTag, scopeTag, sum []byte
	var version, phase, onCrash, kind byte
	var age, leaseLeft, left, term, execution, retain, doubtRetain int64
	l, f, n := &r.Labels, &r.Fingerprint, &r.Note
	dest := []any{
		&id, &version, &phase, &owner, &r.Fence, &r.Attempt, &r.MaxAttempts, &onCrash, &r.GivenUp, &r.resolved,
		&r.begun, &age, &leaseLeft, &left, &term, &execution, &retain, &doubtRetain,
		&kind, &keyTag, &scopeTag, &f.Algorithm, &f.Sum,
		&l.Operation, &l.KeyHint, &l.Route, &l.Host, &n.Actor, &n.Reason, &n.TraceID, &n.Node,
	}
	if outcome != nil {
		dest = append(dest, &sum, outcome)
	}
	if err := from.Scan(dest...); err != nil {
		return nil, err
	}
	copy(r.ID[:], id)
	switch {
	case version != encoding:
		return &r, r.unreadable(fmt.Sprintf("its encoding is %d, and this program knows %d: update it", version, encoding))
	case driver.Phase(phase) > driver.PhaseDone:
		return &r, r.unreadable(fmt.Sprintf("there is no phase %d", phase))
	case outcome != nil && !bytes.Equal(sum, digest(*outcome)):
		return &r, r.unreadable("its outcome does not have the digest that is stored beside it")
	}
	copy(r.owner[:], owner)
	copy(l.KeyTag[:], keyTag)
	copy(l.ScopeTag[:], scopeTag)
	r.Phase, r.OnCrash = driver.Phase(phase), driver.OnCrash(onCrash)
	r.MaxExecution, r.Left, r.Age = duration(execution), duration(left), max(0, duration(age))
	r.term, r.retain, r.doubtRetain = duration(term), duration(retain), duration(doubtRetain)
	switch r.Phase {
	case driver.PhaseRunning:
		r.Lease = duration(leaseLeft)
		if r.GivenUp {
			// A statement that waited for the row has an older clock than whoever gave the lease up just now.
			r.Lease = min(0, r.Lease)
		}
	case driver.PhaseDone:
		r.Outcome = driver.Outcome{Kind: driver.Kind(kind), Note: r.Note}
		if outcome != nil {
			r.Outcome.Bytes = *outcome
		}
	case driver.PhaseAbsent:
	}
	return &r, nil
}

func (r *row) unreadable(why string) error {
	return fmt.Errorf("%w: mysqlstore: the row of id %s: %s", driver.ErrUndecodable, r.ID.Short(), why)
}

func digest(outcome []byte) []byte {
	sum := sha256.Sum256(outcome)
	return sum[:8]
}

// some is b, and never the nil that means NULL.
func some(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// longest is what keeps every instant within the years that the server knows.
const longest = 250 * 365 * 24 * time.Hour

// micros is d as it is stored: rounded up, so that what is something stays something.
func micros(d time.Duration) int64 {
	d = min(d, longest)
	if d <= 0 {
		return 0
	}
	return int64((d + time.Microsecond - 1) / time.Microsecond)
}

func duration(micros int64) time.Duration { return time.Duration(micros) * time.Microsecond }
