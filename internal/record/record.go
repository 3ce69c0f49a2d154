// Package record is the one encoding of a stored record, for the stores that keep bytes.
//
//	byte   major version · minor version · phase · on crash · kind · flags
//	bytes  id tag 4 · owner 16 · key tag 8 · scope tag 8
//	varint fence · attempt · max attempts
//	varint max execution · lease · retain · doubt retain, each as seconds and nanoseconds
//	varint since · lease end · gone
//	texts  key hint, operation, route, host · fingerprint's algorithm, sum · note; if flagged, the outcome's note apart
//	bytes  length · outcome
//	bytes  the fields of later minor versions
//	bytes  CRC-32C of all before 4, little-endian
//
// Varints are those of encoding/binary, the fence's without a sign. Texts are all their lengths and then all their bytes,
// so that reading them takes one allocation. Each record has one encoding only: what could be written shorter is refused.
//
// Whoever changes the encoding changes a version. A minor version adds fields behind the last, and only such that a reader
// may do without: older readers pass over them, and keep them when they write the record again. Since they also keep them
// through transitions whose part in the field they do not know, a field that belongs to one attempt must name its fence.
// A checkpoint fits into a minor version. All else is a major version, which older readers refuse: the id of an encryption
// key is one, because a reader that passed over it would replay the encrypted bytes. A new major version is read by all
// nodes before the first one writes it.
package record

import (
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
)

// Stored is a record as a store keeps it. A residue, what stays of a key that was released or resolved away, is a Stored
// in [driver.PhaseAbsent] that has IDTag, Owner, Fence and the times at least.
type Stored struct {
	// IDTag is how the record's id begins, [4]byte(id[:]); see [Stored.CheckID].
	IDTag   [4]byte
	Phase   driver.Phase
	OnCrash driver.OnCrash
	GivenUp bool
	// Resolved says that an operator ended it, so that the outcome is no owner's.
	Resolved bool
	// Owner is the attempt's, also after its end. It never leaves the store.
	Owner       driver.Owner
	Fence       uint64
	Attempt     int
	MaxAttempts int
	Labels      driver.Labels
	Fingerprint driver.Fingerprint
	Note        driver.Note

	MaxExecution time.Duration
	// Lease is its whole length, also when it is given up: a residue stays for two of them.
	Lease time.Duration
	// Retain is how long an outcome is kept that does not say it itself.
	Retain time.Duration
	// DoubtRetain is how long the record is kept without an outcome and a sign of life.
	DoubtRetain time.Duration

	// Times are instants of the store's clock, in a unit of its choice. A store that keeps them elsewhere leaves them 0.

	// Since is when the current attempt began or, for a done record and a residue, when that ended.
	Since int64
	// LeaseEnd is when the lease is over.
	LeaseEnd int64
	// Gone is when the record is absent.
	Gone int64

	Kind driver.Kind
	// Outcome is the answer or what describes it. An empty one is nil after [Decode].
	Outcome []byte
	// OutcomeNote is nil when the outcome came with Note.
	OutcomeNote *driver.Note

	later later
}

// later is what a newer node wrote and this one does not know.
type later struct {
	minor  byte
	fields []byte
}

// CheckID returns an error that wraps [driver.ErrUndecodable] unless the record was stored for id. A store asks after each
// [Decode]: a record that has come to lie under another key is somebody else's answer.
func (s *Stored) CheckID(id driver.ID) error {
	if s.IDTag != [4]byte(id[:]) {
		return fmt.Errorf("%w: it is the record of another id, by the tag at byte %d", driver.ErrUndecodable, idTagAt)
	}
	return nil
}

// texts are the strings in the order in which they are stored.
func (s *Stored) texts() [textCount]*string {
	l, f, n := &s.Labels, &s.Fingerprint, &s.Note
	return [...]*string{
		&l.KeyHint, &l.Operation, &l.Route, &l.Host, &f.Algorithm, &f.Sum, &n.Actor, &n.Reason, &n.TraceID, &n.Node,
	}
}

func noteTexts(n *driver.Note) [4]*string {
	return [...]*string{&n.Actor, &n.Reason, &n.TraceID, &n.Node}
}
