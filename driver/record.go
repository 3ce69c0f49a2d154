package driver

import (
	"encoding/hex"
	"time"
)

// ID is what a store looks up: a hash of scope, operation and key. Stores treat it as opaque bytes.
type ID [32]byte

// String is the id in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short is the first eight hexadecimal digits, for logs.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// Owner is the random token of one attempt. It proves ownership, so stores never hand it out and nobody logs it.
type Owner [16]byte

// Fingerprint is what makes two requests the same: a sum and the name of the algorithm that made it. Both are opaque to
// a store; they are strings so that fingerprints can be compared and shared, not because they hold text.
type Fingerprint struct {
	Algorithm string
	Sum       string
}

// Phase is the stored state of a record.
type Phase uint8

// The phases. In doubt is not one of them: it is derived, see [Record.InDoubt].
const (
	PhaseAbsent Phase = iota
	PhaseRunning
	PhaseDone
)

// OnCrash says what happens to a key whose lease is over without an outcome.
type OnCrash uint8

const (
	// Hold never runs again what may have happened: the record is in doubt until somebody resolves it.
	Hold OnCrash = iota + 1
	// Rerun lets the next caller run it again with a higher fence, up to MaxAttempts.
	Rerun
)

func (c OnCrash) String() string {
	switch c {
	case Hold:
		return "hold"
	case Rerun:
		return "rerun"
	default:
		return "invalid"
	}
}

// Kind is the kind of an outcome.
type Kind uint8

const (
	// Answer is replayed to everyone who asks.
	Answer Kind = iota + 1
	// Tombstone says that it ended but its answer was not kept; its bytes describe the answer.
	Tombstone
)

func (k Kind) String() string {
	switch k {
	case Answer:
		return "answer"
	case Tombstone:
		return "tombstone"
	default:
		return "invalid"
	}
}

// Labels help people find a record. None of them is part of its identity.
type Labels struct {
	KeyTag    [8]byte // the first bytes of the SHA-256 of the key
	KeyHint   string  // the key, redacted
	ScopeTag  [8]byte // the first bytes of the SHA-256 of the scope
	Operation string
	Route     string
	Host      string
}

// Note says who made a transition and why. All fields may be empty.
type Note struct {
	Actor   string
	Reason  string
	TraceID string
	Node    string
}

// Record is what is known of a key. Times are durations by the store's clock at the moment of the answer, never
// instants, so that nobody compares two clocks.
type Record struct {
	ID          ID
	Phase       Phase
	Labels      Labels
	Fingerprint Fingerprint
	OnCrash     OnCrash
	// Fence grows with each attempt of the key.
	Fence uint64
	// Attempt counts executions from 1.
	Attempt     int
	MaxAttempts int
	// MaxExecution is the longest an attempt may show signs of life.
	MaxExecution time.Duration
	// Lease is what is left of it; zero or less when it is over, given up, or the record is done.
	Lease time.Duration
	// GivenUp says that the owner gave its lease up instead of letting it run out.
	GivenUp bool
	// Age is the time since the current attempt began or, for a done record, since it was done.
	Age time.Duration
	// Left is the time until the record is absent.
	Left time.Duration
	// Outcome is set when the record is done. Its Retain is zero: Left says what remains.
	Outcome Outcome
	// Note is the one of the last transition.
	Note Note
}

// InDoubt reports whether nobody is left who can say how it ended: running, lease over, and not to be run again.
func (r *Record) InDoubt() bool {
	return r.Phase == PhaseRunning && r.Lease <= 0 && !r.Rerunnable()
}

// Rerunnable reports whether the next caller may run it again once the lease is over.
func (r *Record) Rerunnable() bool {
	return r.OnCrash == Rerun && r.Attempt < r.MaxAttempts
}

// State is the word for people: absent, running, in-doubt or done.
func (r *Record) State() string {
	switch {
	case r.Phase == PhaseAbsent:
		return "absent"
	case r.Phase == PhaseDone:
		return "done"
	case r.InDoubt():
		return "in-doubt"
	default:
		return "running"
	}
}
