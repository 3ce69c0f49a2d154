// Package packed is how a record lies in Redis: one string, of which the store's scripts read and change two parts only.
//
//	state     version 1 · which 1 · owner 16 · kind 1 · life 6 · elapsed 6 · length of the outcome 4 · check 4
//	head      on crash 1 · fence 6 · attempt 4 · max attempts 4 · lease 6 · retain 6 · length of the identity 4 · check 4
//	identity  fingerprint's algorithm, sum · key tag 8 · scope tag 8 · max execution · key hint, operation, route, host · CRC
//	outcome   its bytes · CRC; nothing at all unless the record is done
//	notes     of the last transition · if it is another one, of the outcome · CRC; nothing at all in a residue
//
// A Complete copies head and identity, and what stands around them is made by its client: the script of the hot path
// compares how the value begins, and makes no checks.
//
// Numbers of head and state are big-endian, their durations are milliseconds. There is no instant: life is the expiry that
// the value was written with, 0 if it is the retention, so that what has passed since is life less the expiry that is left,
// both by the server's clock. Elapsed is how long the attempt had run before that.
//
// A check is how the SHA-1 of the key and the part begins, because that is what a script can compute. The CRCs are those of
// Castagnoli, over the key and the section; only clients make and verify them. All of them cover the key, so that a value
// which has come to lie under another one is found out.
//
// The identity is written once and begins with the fingerprint, so that a script can compare it with a claim's. Texts are
// a length and the bytes, a route that equals the operation is length 0, numbers are varints of encoding/binary. A change
// of any of this is a new version, which older nodes and their scripts refuse.
package packed

import (
	"crypto/sha1" //nolint:gosec // not against forgery: whoever may write to Redis may write anything
	"encoding/binary"
	"hash/crc32"
	"math"
	"time"
	"unsafe"

	"github.com/onceward/onceward/driver"
)

const (
	version     = 1
	checkLen    = 4
	stateLen    = 39
	headLen     = 35
	ownerAt     = 2
	ownerEnd    = ownerAt + len(driver.Owner{})
	longest     = 1<<48 - 1 // of a duration, in milliseconds: 8900 years
	maxAttempts = math.MaxInt32
)

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

// Record is a packed record. Durations of head and state come back rounded up to milliseconds.
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

// Milliseconds is d in the unit of head and state: rounded up, since nothing may end early, at least 1 and at most 2^48-1.
func Milliseconds(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return min(max(1, ms), longest)
}

// AppendClaim appends the record that c asks for, as the first attempt of the key.
func AppendClaim(dst []byte, key string, c *driver.Claim) []byte {
	dst = appendState(dst, key, Running, &c.Owner, 0, Milliseconds(c.DoubtRetain), 0)
	from := len(dst)
	dst = append(dst, byte(c.OnCrash))
	dst = append48(dst, 1)
	dst = binary.BigEndian.AppendUint32(dst, 1)
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(max(0, c.MaxAttempts), maxAttempts)))
	dst = append48(dst, Milliseconds(c.Lease))
	dst = append48(dst, Milliseconds(c.Retain))
	lengthAt := len(dst)
	dst = append(dst, make([]byte, 4+checkLen)...)
	dst = appendIdentity(dst, key, c)
	binary.BigEndian.PutUint32(dst[lengthAt:], uint32(len(dst)-from-headLen))
	end := from + headLen - checkLen
	sum := digest(key, dst[from:end])
	copy(dst[end:], sum[:])
	return AppendNotes(dst, key, &c.Note, &c.Note)
}

// AppendRunning appends how the value begins of a record that is running, awaited by nobody, and the owner's.
func AppendRunning(dst []byte, o *driver.Owner) []byte {
	return append(append(dst, version, byte(Running)), o[:]...)
}

func appendState(dst []byte, key string, s State, o *driver.Owner, kind driver.Kind, life int64, outcome int) []byte {
	from := len(dst)
	dst = append(dst, version, byte(s))
	dst = append(dst, o[:]...)
	dst = append(dst, byte(kind))
	dst = append48(dst, life)
	dst = append48(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(outcome))
	sum := digest(key, dst[from:])
	return append(dst, sum[:]...)
}

// AppendDone appends the state of a record that its owner has completed.
func AppendDone(dst []byte, key string, o *driver.Owner, out *driver.Outcome) []byte {
	life := int64(0)
	if out.Retain > 0 {
		life = Milliseconds(out.Retain)
	}
	return appendState(dst, key, Done, o, out.Kind, life, len(out.Bytes)+checkLen)
}

// AppendOutcome appends the outcome section.
func AppendOutcome(dst []byte, key string, out *driver.Outcome) []byte {
	return seal(append(dst, out.Bytes...), len(dst), key)
}

func append48(dst []byte, n int64) []byte {
	return append(dst, byte(n>>40), byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func appendIdentity(dst []byte, key string, c *driver.Claim) []byte {
	from := len(dst)
	dst = AppendFingerprint(dst, &c.Fingerprint)
	dst = append(dst, c.Labels.KeyTag[:]...)
	dst = append(dst, c.Labels.ScopeTag[:]...)
	dst = binary.AppendVarint(dst, int64(c.MaxExecution/time.Second))
	dst = binary.AppendVarint(dst, int64(c.MaxExecution%time.Second))
	dst = appendText(dst, c.Labels.KeyHint)
	dst = appendText(dst, c.Labels.Operation)
	if c.Labels.Route == c.Labels.Operation {
		dst = append(dst, 0)
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(c.Labels.Route))+1)
		dst = append(dst, c.Labels.Route...)
	}
	dst = appendText(dst, c.Labels.Host)
	return seal(dst, from, key)
}

// AppendFingerprint appends what the identity of a record with that fingerprint begins with, and of no other.
func AppendFingerprint(dst []byte, f *driver.Fingerprint) []byte {
	return appendText(appendText(dst, f.Algorithm), f.Sum)
}

// AppendNotes appends the notes section: of the last transition and of the outcome.
func AppendNotes(dst []byte, key string, last, outcome *driver.Note) []byte {
	from := len(dst)
	dst = appendNote(dst, last)
	if *outcome != *last {
		dst = appendNote(dst, outcome)
	}
	return seal(dst, from, key)
}

func appendNote(dst []byte, n *driver.Note) []byte {
	for _, text := range [...]string{n.Actor, n.Reason, n.TraceID, n.Node} {
		dst = appendText(dst, text)
	}
	return dst
}

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// Beginning is state and head of a value, of which no other write of the key has the same: a done record is written once
// for each owner and fence.
func Beginning(value string) string { return value[:min(len(value), stateLen+headLen)] }

// digest is what a part of the key's value ends with.
func digest(key string, part []byte) [checkLen]byte {
	sum := sha1.Sum(append(append(make([]byte, 0, 192), key...), part...)) //nolint:gosec // see the import
	return [checkLen]byte(sum[:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal appends the checksum of the section that begins at from.
func seal(dst []byte, from int, key string) []byte {
	return binary.BigEndian.AppendUint32(dst, sum(key, dst[from:]))
}

func sum(key string, section []byte) uint32 {
	return crc32.Update(crc32.Checksum(raw(key), castagnoli), castagnoli, section)
}

// raw is s as bytes that nobody may write to.
func raw(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // nothing is allocated for a look
}
