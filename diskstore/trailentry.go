package diskstore

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/onceward/onceward/driver"
)

// An entry of the trail as it is stored:
//
//	byte   version · step · kind
//	bytes  key tag 8
//	varint fence, without a sign · attempt
//	texts  operation, key hint, the note's actor, reason, trace id, node: each with its length before it
//	bytes  CRC-32C of its key and all before 4, little-endian
//
// The key holds the moment and the id. The checksum covers it, so that no entry is read as that of another id or time. Any
// other version is refused, and a new one is read by every process before the first one writes it.
const (
	entryVersion  = 1
	entryChecksum = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func encodeEntry(key []byte, e *driver.Entry) []byte {
	dst := append(make([]byte, 0, 128), entryVersion, byte(e.Step), byte(e.Kind)) // most fit
	dst = append(dst, e.KeyTag[:]...)
	dst = binary.AppendUvarint(dst, e.Fence)
	dst = binary.AppendVarint(dst, int64(e.Attempt))
	for _, text := range entryTexts(e) {
		dst = binary.AppendUvarint(dst, uint64(len(*text)))
		dst = append(dst, *text...)
	}
	return binary.LittleEndian.AppendUint32(dst, checksum(key, dst))
}

func entryTexts(e *driver.Entry) [6]*string {
	n := &e.Note
	return [...]*string{&e.Operation, &e.KeyHint, &n.Actor, &n.Reason, &n.TraceID, &n.Node}
}

func checksum(key, value []byte) uint32 {
	return crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
}

// decodeEntry keeps nothing of key and value.
func decodeEntry(key, value []byte) (driver.Entry, error) {
	at := time.Unix(0, int64(binary.BigEndian.Uint64(key[1:])))
	broken := func(what string) (driver.Entry, error) {
		return driver.Entry{}, fmt.Errorf("%w: diskstore: the audit trail at %s: %s; read what is before and after it",
			driver.ErrUndecodable, at.UTC().Format(time.RFC3339Nano), what)
	}
	end := len(value) - entryChecksum
	switch {
	case len(value) == 0:
		return broken("an empty entry")
	case value[0] != entryVersion:
		return broken(fmt.Sprintf("an entry of the unknown version %d", value[0]))
	case end < 0 || binary.LittleEndian.Uint32(value[end:]) != checksum(key, value[:end]):
		return broken("an entry with a wrong checksum")
	}
	e := driver.Entry{ID: trailID(key), Time: at}
	rest, ok := decodeNumbers(&e, value[1:end])
	for _, text := range entryTexts(&e) {
		n, length := binary.Uvarint(rest)
		if ok = ok && length > 0 && n <= uint64(len(rest)-length); !ok {
			break
		}
		*text, rest = string(rest[length:length+int(n)]), rest[length+int(n):]
	}
	if !ok || len(rest) > 0 {
		return broken("an entry that does not follow its format")
	}
	return e, nil
}

// decodeNumbers reads what stands before the texts, and returns what follows.
func decodeNumbers(e *driver.Entry, b []byte) (rest []byte, ok bool) {
	if len(b) < 2+len(e.KeyTag) {
		return nil, false
	}
	e.Step, e.Kind = driver.Step(b[0]), driver.Kind(b[1])
	copy(e.KeyTag[:], b[2:])
	b = b[2+len(e.KeyTag):]
	fence, n := binary.Uvarint(b)
	if n <= 0 {
		return nil, false
	}
	attempt, m := binary.Varint(b[n:])
	if m <= 0 {
		return nil, false
	}
	e.Fence, e.Attempt = fence, int(attempt)
	return b[n+m:], true
}

// readError is why something could not be read.
func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%w: diskstore: %s", driver.ErrUndecodable, brief(err))
	default:
		return fmt.Errorf("%w: diskstore: reading: %w", driver.ErrUnavailable, err)
	}
}

// instant is t by the store's clock, within what that can tell. The zero time is the beginning.
func instant(t time.Time) int64 {
	switch {
	case t.Unix() < 0:
		return 0
	case t.Unix() >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	default:
		return t.UnixNano()
	}
}

func trailCursor(at time.Time) string { return hex.EncodeToString(trailBound(at.UnixNano())[1:]) }

// parseTrailCursor returns the moment at which a page starts. No two entries share one, but across a clock that was set back
// to the nanosecond.
func parseTrailCursor(cursor string) (int64, error) {
	if cursor == "" {
		return 0, nil
	}
	b, err := hex.DecodeString(cursor)
	if err != nil || len(b) != 8 || b[0] > math.MaxInt8 {
		return 0, fmt.Errorf("diskstore: %q is not a cursor that History returned", cursor)
	}
	return int64(binary.BigEndian.Uint64(b)), nil
}
