// Package packed is how a record lies in Redis: one string, of which the store's scripts read the head.
//
//	head      version 1 · which 1 · owner 16 · check 4 · kind 1 · on crash 1 · fence 5 · attempt 3 · max attempts 3 ·
//	          life 5 · elapsed 5 · lease 5 · retain 5 · length of the identity 3 · of the notes 3
//	identity  fingerprint's algorithm, sum · key tag 8 · scope tag 8 · max execution · key hint, operation, route, host
//	notes     of the last transition · if it is another one, of the outcome; nothing at all in a residue
//	outcome   its bytes · CRC; nothing at all unless the record is done
//
// Numbers of the head are big-endian, its durations are milliseconds. There is no instant: life is the expiry that the value
// was written with, so that what has passed since is life less the expiry that is left, both by the server's clock. Elapsed
// is how long the attempt had run before that.
//
// The check is how the SHA-1 of the key and of all before the outcome but itself begins, because that is what a script can
// compute. The CRC is that of Castagnoli, over the key and the outcome; only clients make and verify it. Both cover the key,
// so that a value which has come to lie under another one is found out.
//
// So an owner who remembers head and identity can tell by all up to the check that they are still the same, and write the
// next value without having read this one. That is how nearly every Complete goes: a script is the slower the more bytes it
// touches.
//
// The identity is written once and begins with the fingerprint, so that a script can compare it with a claim's. Texts are
// a length and the bytes, a route that equals the operation is length 0, numbers are varints of encoding/binary. An
// algorithm of onceward's own is its number in a list, a note begins with bits that say which of its texts follow. A change
// of any of this is a new version, which older nodes and their scripts refuse.
package packed

import (
	"time"

	"github.com/onceward/onceward/driver"
)

const (
	version     = 2
	checkLen    = 4
	headLen     = 61
	longest     = 1<<40 - 1 // of a duration, in milliseconds: 34 years
	maxAttempts = 1<<24 - 1
)

// LongestTexts is how many bytes identity and notes of a record may take together.
const LongestTexts = 1<<24 - 1

// Where the parts of the head stand.
const (
	stateAt    = 1
	ownerAt    = 2
	checkAt    = ownerAt + len(driver.Owner{})
	kindAt     = checkAt + checkLen
	onCrashAt  = kindAt + 1
	fenceAt    = onCrashAt + 1
	attemptAt  = fenceAt + 5
	maxAt      = attemptAt + 3
	lifeAt     = maxAt + 3
	elapsedAt  = lifeAt + 5
	leaseAt    = elapsedAt + 5
	retainAt   = leaseAt + 5
	identityAt = retainAt + 5
	notesAt    = identityAt + 3
)

// algorithms are those that are stored as a number, their place in this list. It may only grow.
var algorithms = [...]string{"http-bytes/1", "http-content/1", "json-sha256/1", "identity/1"}

// State is what the record is, and for a running or done one how it got there.
type State uint8

// The states, as the scripts know them. No few flipped bits make one of another.
const (
	Residue  State = 0x11
	Running  State = 0x22
	Awaited  State = 0x77 // running, and somebody wants to be told when that ends
	GivenUp  State = 0x44 // running, and its lease was given up
	Done     State = 0x88 // by its owner
	Resolved State = 0xee // by an operator, so that the outcome is no owner's
)

// Record is a packed record. Durations of the head come back rounded up to milliseconds, and those of
// more than 34 years as that.
type Record struct {
	State       State
	OnCrash     driver.OnCrash
	Kind        driver.Kind
	Owner       driver.Owner
	Fence       uint64
	Attempt     int
	MaxAttempts int
	Lease       time.Duration
	Life        time.Duration
	Retain      time.Duration
	Elapsed     time.Duration

	Fingerprint  driver.Fingerprint
	Labels       driver.Labels
	MaxExecution time.Duration

	// Outcome is what was stored, part of the string that was decoded.
	Outcome     string
	Note        driver.Note
	OutcomeNote driver.Note
}
