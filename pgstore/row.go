package pgstore

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
)

const encoding = 1 // the version of the rows that this package reads and writes

// What a statement says of the row that it answers.
const (
	known = 1 // it was there
	taken = 2 // the caller has it now
)

// row is a record as a statement answers it, see sql/row.sql.
type row struct {
	status int64

	version, phase, onCrash, kind             int64
	givenUp, resolved                         bool
	owner                                     []byte
	fence, attempt, maxAttempts, maxExecution int64
	now, begun, leaseUntil, expires           time.Time

	algorithm, sum                                      []byte
	keyTag, scopeTag, operation, keyHint, route, host   []byte
	actor, reason, traceID, node, outcome, outcomeCheck []byte
}

// dest is where the columns are scanned to.
func (r *row) dest() []any {
	return []any{
		&r.status,
		&r.version, &r.phase, &r.onCrash, &r.kind,
		&r.givenUp, &r.resolved, &r.owner,
		&r.fence, &r.attempt, &r.maxAttempts, &r.maxExecution,
		&r.now, &r.begun, &r.leaseUntil, &r.expires,
		&r.algorithm, &r.sum, &r.keyTag, &r.scopeTag, &r.operation, &r.keyHint, &r.route, &r.host,
		&r.actor, &r.reason, &r.traceID, &r.node, &r.outcome, &r.outcomeCheck,
	}
}

func (r *row) expired() bool { return !r.expires.After(r.now) }

// absent is what callers are to take it for.
func (r *row) absent() bool { return driver.Phase(r.phase) == driver.PhaseAbsent || r.expired() }

func (r *row) ownedBy(o driver.Owner) bool { return string(r.owner) == string(o[:]) }

func (r *row) fingerprint() driver.Fingerprint {
	return driver.Fingerprint{Algorithm: string(r.algorithm), Sum: string(r.sum)}
}

func (r *row) leaseLeft() time.Duration {
	if r.givenUp || driver.Phase(r.phase) != driver.PhaseRunning {
		return 0
	}
	return r.leaseUntil.Sub(r.now)
}

// readable is an error if nobody here can say what the row means.
func (r *row) readable(id driver.ID) error {
	if r.version != encoding {
		return fmt.Errorf("%w: pgstore: the row of id %s has the encoding %d, and this version of onceward knows %d: "+
			"use the version that wrote it", driver.ErrUndecodable, id.Short(), r.version, encoding)
	}
	if driver.Phase(r.phase) == driver.PhaseDone && string(digest(r.outcome)) != string(r.outcomeCheck) {
		return fmt.Errorf("%w: pgstore: the outcome of id %s is not the one that was stored: the row is damaged, or was changed by hand",
			driver.ErrUndecodable, id.Short())
	}
	return nil
}

func digest(outcome []byte) []byte {
	sum := sha256.Sum256(outcome)
	return sum[:8]
}

// record is the row as callers see it.
func (r *row) record(id driver.ID) driver.Record {
	v := driver.Record{ID: id}
	if r.absent() {
		return v
	}
	v.Phase, v.Fingerprint = driver.Phase(r.phase), r.fingerprint()
	v.Labels = driver.Labels{
		Operation: string(r.operation), KeyHint: string(r.keyHint), Route: string(r.route), Host: string(r.host),
	}
	copy(v.Labels.KeyTag[:], r.keyTag)
	copy(v.Labels.ScopeTag[:], r.scopeTag)
	v.Note = driver.Note{Actor: string(r.actor), Reason: string(r.reason), TraceID: string(r.traceID), Node: string(r.node)}
	v.OnCrash, v.Fence = driver.OnCrash(r.onCrash), uint64(r.fence)
	v.Attempt, v.MaxAttempts, v.MaxExecution = int(r.attempt), int(r.maxAttempts), time.Duration(r.maxExecution)*time.Microsecond
	v.Age, v.Left = max(0, r.now.Sub(r.begun)), r.expires.Sub(r.now)
	v.Lease, v.GivenUp = r.leaseLeft(), r.givenUp
	if v.Phase == driver.PhaseDone {
		v.Outcome = driver.Outcome{Kind: driver.Kind(r.kind), Bytes: r.outcome, Note: v.Note}
	}
	return v
}

// heldElsewhere is the record of a key that a transaction holds. Its fingerprint is not to be seen, so that of the claim is taken for
// it: whether they match is known when the transaction has ended.
func heldElsewhere(id driver.ID, c *driver.Claim) driver.Grant {
	return driver.Grant{Verdict: driver.Running, Record: driver.Record{
		ID: id, Phase: driver.PhaseRunning, Fingerprint: c.Fingerprint, OnCrash: c.OnCrash,
		MaxExecution: c.MaxExecution, Lease: c.Lease, Left: c.DoubtRetain,
	}}
}

// granted is the record of a key that was absent, and is the caller's now.
func granted(id driver.ID, c *driver.Claim) driver.Grant {
	return driver.Grant{Verdict: driver.Acquired, Record: driver.Record{
		ID: id, Phase: driver.PhaseRunning, Labels: c.Labels, Fingerprint: c.Fingerprint, OnCrash: c.OnCrash,
		Fence: 1, Attempt: 1, MaxAttempts: c.MaxAttempts, MaxExecution: c.MaxExecution,
		Lease: c.Lease, Left: c.DoubtRetain, Note: c.Note,
	}}
}
