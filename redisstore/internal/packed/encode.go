package packed

import (
	"crypto/sha1" //nolint:gosec // not against forgery: whoever may write to Redis may write anything
	"encoding/binary"
	"hash/crc32"
	"time"
	"unsafe"

	"github.com/onceward/onceward/driver"
)

// Milliseconds is d in the unit of the head: rounded up, since nothing may end early, at least 1 and at most 2^40-1.
func Milliseconds(d time.Duration) int64 {
	ms := int64(d / time.Millisecond)
	if d%time.Millisecond > 0 {
		ms++
	}
	return min(max(1, ms), longest)
}

// AppendClaim appends the record that c asks for, as the first attempt of the key.
func AppendClaim(dst []byte, key string, c *driver.Claim) []byte {
	from := len(dst)
	dst = append(append(dst, version, byte(Running)), c.Owner[:]...)
	dst = append(dst, make([]byte, onCrashAt-checkAt)...)
	dst = append(dst, byte(c.OnCrash))
	dst = append40(dst, 1)
	dst = append24(dst, 1)
	dst = append24(dst, min(max(0, c.MaxAttempts), maxAttempts))
	dst = append40(dst, Milliseconds(c.DoubtRetain))
	dst = append40(dst, 0)
	dst = append40(dst, Milliseconds(c.Lease))
	dst = append40(dst, Milliseconds(c.Retain))
	dst = append(dst, make([]byte, headLen-identityAt)...)
	identity := len(dst)
	dst = appendIdentity(dst, c)
	put24(dst[from+identityAt:], len(dst)-identity)
	notes := len(dst)
	dst = AppendNotes(dst, &c.Note, &c.Note)
	return seal(dst, from, notes, key)
}

// Beginning is head and identity of a value, or less if it has less. No other done record of the key has the same: each is
// written once for its owner and fence.
func Beginning(value string) string {
	if len(value) < headLen {
		return value
	}
	return value[:min(len(value), headLen+get24(raw(value[identityAt:])))]
}

// Begun is what a Complete knows of the running record that it ends.
type Begun string

// BegunBy is the beginning if it is that of the owner's running record, which nobody awaits. Otherwise it is what every owner
// knows, which begins no record: it is in no state.
func BegunBy(o *driver.Owner, beginning string) Begun {
	if len(beginning) >= headLen && beginning[stateAt] == byte(Running) && beginning[ownerAt:checkAt] == string(o[:]) {
		return Begun(beginning)
	}
	b := make([]byte, headLen)
	b[0] = version
	copy(b[ownerAt:], o[:])
	return Begun(b)
}

// Mark is what the value begins with if it has not changed since.
func (b Begun) Mark() string { return string(b[:kindAt]) }

// Retain is how many milliseconds the record is kept once it is done, 0 when it is not known.
func (b Begun) Retain() int64 { return get40(raw(string(b[retainAt:]))) }

// AppendDone appends the record that its owner has completed, to be kept for so many milliseconds. What is not known is left
// empty, for the script to fill in.
func AppendDone(dst []byte, key string, b Begun, out *driver.Outcome, life int64) []byte {
	from := len(dst)
	dst = append(dst, b...)
	head := dst[from:]
	head[stateAt], head[kindAt] = byte(Done), byte(out.Kind)
	put40(head[lifeAt:], life)
	put40(head[elapsedAt:], 0)
	notes := len(dst)
	dst = AppendNotes(dst, &out.Note, &out.Note)
	return AppendOutcome(seal(dst, from, notes, key), key, out)
}

// AppendOutcome appends the outcome section.
func AppendOutcome(dst []byte, key string, out *driver.Outcome) []byte {
	dst = append(dst, out.Bytes...)
	return binary.BigEndian.AppendUint32(dst, sum(key, dst[len(dst)-len(out.Bytes):]))
}

func appendIdentity(dst []byte, c *driver.Claim) []byte {
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
	return appendText(dst, c.Labels.Host)
}

// AppendFingerprint appends what the identity of a record with that fingerprint begins with, and of no other.
func AppendFingerprint(dst []byte, f *driver.Fingerprint) []byte {
	return appendText(appendAlgorithm(dst, f.Algorithm), f.Sum)
}

// appendAlgorithm appends its place in the list, from 1, or 0 and the text.
func appendAlgorithm(dst []byte, name string) []byte {
	for i, known := range algorithms {
		if name == known {
			return append(dst, byte(i+1))
		}
	}
	return appendText(append(dst, 0), name)
}

// AppendNotes appends the notes section: of the last transition and of the outcome.
func AppendNotes(dst []byte, last, outcome *driver.Note) []byte {
	dst = appendNote(dst, last)
	if *outcome != *last {
		dst = appendNote(dst, outcome)
	}
	return dst
}

func appendNote(dst []byte, n *driver.Note) []byte {
	at := len(dst)
	dst = append(dst, 0)
	for i, text := range [...]string{n.Actor, n.Reason, n.TraceID, n.Node} {
		if text != "" {
			dst[at] |= 1 << i
			dst = appendText(dst, text)
		}
	}
	return dst
}

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// seal completes the head of the value that begins at from, when all is there that its check covers. The notes begin there.
func seal(dst []byte, from, notes int, key string) []byte {
	put24(dst[from+notesAt:], len(dst)-notes)
	check := digest(key, dst[from:from+checkAt], dst[from+kindAt:])
	copy(dst[from+checkAt:], check[:])
	return dst
}

// digest is the check that stands between these two, in a value or in an entry.
func digest(key string, top, rest []byte) [checkLen]byte {
	all := append(make([]byte, 0, 320), key...)
	sum := sha1.Sum(append(append(all, top...), rest...)) //nolint:gosec // see the import
	return [checkLen]byte(sum[:])
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(key string, section []byte) uint32 {
	return crc32.Update(crc32.Checksum(raw(key), castagnoli), castagnoli, section)
}

// raw is s as bytes that nobody may write to.
func raw(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s)) //nolint:gosec // nothing is allocated for a look
}

func append40(dst []byte, n int64) []byte {
	return append(dst, byte(n>>32), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func append24(dst []byte, n int) []byte { return append(dst, byte(n>>16), byte(n>>8), byte(n)) }

func put40(dst []byte, n int64) { append40(dst[:0], n) }

func put24(dst []byte, n int) { append24(dst[:0], n) }

func get40(b []byte) int64 { return int64(b[0])<<32 | int64(binary.BigEndian.Uint32(b[1:])) }

func get24(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }
