package driver

import "time"

// AuditLevel says which steps of a key a store keeps in its audit trail.
type AuditLevel uint8

// The levels.
const (
	// AuditOff keeps no trail.
	AuditOff AuditLevel = iota
	// AuditTransitions keeps every step but signs of life. An owner who gave its lease up and takes it back is kept.
	AuditTransitions
	// AuditAll also keeps every sign of life: each Extend, and each Acquire that its running owner repeats.
	AuditAll
)

func (l AuditLevel) String() string {
	switch l {
	case AuditOff:
		return "off"
	case AuditTransitions:
		return "transitions"
	case AuditAll:
		return "all"
	default:
		return "invalid"
	}
}

// Step is what happened to a key, in the words of the guard's trace.
type Step uint8

// The steps.
const (
	StepAcquired  Step = iota + 1 // the key was absent, and its first attempt began
	StepTakenOver                 // the next attempt began
	StepExtended                  // a sign of life
	StepGivenUp                   // the lease was given up, and the key kept
	StepCompleted                 // by its owner
	StepReleased                  // by its owner
	StepResolved                  // a doubt was ended by somebody who is not the owner
	StepForced                    // the same of any record, by [Resolution].Force: the fence grew
)

func (s Step) String() string {
	switch s {
	case StepAcquired:
		return "acquired"
	case StepTakenOver:
		return "taken-over"
	case StepExtended:
		return "extended"
	case StepGivenUp:
		return "given-up"
	case StepCompleted:
		return "completed"
	case StepReleased:
		return "released"
	case StepResolved:
		return "resolved"
	case StepForced:
		return "forced"
	default:
		return "invalid"
	}
}

// Entry is one step of a key, as the audit trail keeps it. It never holds a key, an owner or the bytes of an outcome.
type Entry struct {
	ID ID
	// Time is when it happened by the store's clock. It is for people: nothing is decided by comparing it.
	Time time.Time
	Step Step
	// Attempt and Fence are those that the step left behind or, where the key became free, the last ones.
	Attempt int
	Fence   uint64
	// Kind is that of the outcome which the step stored; zero for other steps, and for a key that was made free.
	Kind Kind
	// Operation, KeyHint and KeyTag are as in the record's [Labels].
	Operation string
	KeyHint   string
	KeyTag    [8]byte
	// Note is the one that came with the step.
	Note Note
}

// HistoryQuery selects entries. Zero fields select all.
type HistoryQuery struct {
	ID        *ID      // of one id
	KeyTag    *[8]byte // of one key, in every scope and operation
	Operation string
	Since     time.Time // at that time or later
	Until     time.Time // earlier
	Cursor    string    // where the last page ended
	Limit     int       // Defaults to 100.
}

// Matches reports whether e is of what the query asks for, at whatever time. The rest is the store's.
func (q *HistoryQuery) Matches(e *Entry) bool {
	return (q.ID == nil || *q.ID == e.ID) &&
		(q.KeyTag == nil || *q.KeyTag == e.KeyTag) &&
		(q.Operation == "" || q.Operation == e.Operation)
}
