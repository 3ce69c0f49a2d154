package record

import (
	"bytes"
	"encoding/binary"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

func TestFlippedBitsAreRefused(t *testing.T) {
	for _, shape := range shapes {
		b := Append(nil, &shape.value)
		for bit := range 8 * len(b) {
			b[bit/8] ^= 1 << (bit % 8)
			_, err := Decode(b)
			check.ErrorIs(t, err, driver.ErrUndecodable, "%s with bit %d flipped", shape.name, bit)
			b[bit/8] ^= 1 << (bit % 8)
		}
		_, err := Decode(b)
		check.NoError(t, err, "%s with all bits flipped back", shape.name)
	}
}

func TestCutOffIsRefused(t *testing.T) {
	for _, shape := range shapes {
		b := Append(nil, &shape.value)
		for n := range b {
			_, err := Decode(b[:n])
			check.ErrorIs(t, err, driver.ErrUndecodable, "the first %d bytes of %s", n, shape.name)
			if n < len(b)-checksumLen {
				_, err = Decode(reseal(b[:n]))
				check.ErrorIs(t, err, driver.ErrUndecodable, "the first %d bytes of %s, with their checksum", n, shape.name)
			}
		}
		_, err := Decode(append(b, 0))
		check.ErrorIs(t, err, driver.ErrUndecodable, "%s and one more byte", shape.name)
	}
}

const (
	fenceAt    = 42          // behind the bytes of fixed length, in records of major version 1
	attemptAt  = fenceAt + 1 // for a fence below 128
	durationAt = attemptAt + 2
	leaseAt    = durationAt + 3 // a max execution of 600 s and 0 ns takes three bytes
)

// Here the checksum is right: a node with another idea of the encoding wrote it.
func TestWrongRecordsAreRefused(t *testing.T) {
	longest := binary.AppendUvarint(nil, math.MaxUint64)
	for _, c := range []struct {
		name string
		at   int
		put  []byte // instead of one byte
		want string
	}{
		{"major version 0", 0, []byte{0}, "unknown major version 0, at byte 0"},
		{"the next major version", 0, []byte{major + 1}, "unknown major version 2, at byte 0"},
		{"a phase", 2, []byte{3}, "unknown phase, at byte 2"},
		{"a crash policy", 3, []byte{3}, "unknown crash policy, at byte 3"},
		{"a kind", 4, []byte{3}, "unknown kind of outcome, at byte 4"},
		{"a flag", 5, []byte{8}, "unknown flags, at byte 5"},
		{"a number that could be shorter", fenceAt, []byte{0x81, 0}, "no number for the fence, at byte 42"},
		{"a number of 65 bits", fenceAt, append(bytes.Repeat([]byte{0xff}, 9), 2), "no number for the fence, at byte 42"},
		{"a duration of 2^63 s", durationAt, longest, "no duration for the max execution, at byte 45"},
		{"signs that differ", leaseAt + 1, []byte{1}, "no duration for the lease, at byte 48"},
	} {
		s := doneAnswer()
		b := Append(nil, &s)
		b = b[:len(b)-checksumLen]
		b = reseal(append(append(bytes.Clone(b[:c.at]), c.put...), b[c.at+1:]...))
		_, err := Decode(b)
		check.ErrorIs(t, err, driver.ErrUndecodable, "%s", c.name)
		check.True(t, strings.HasSuffix(err.Error(), ": "+c.want), "%s: %q does not end in %q", c.name, err, c.want)
	}
	s := doneAnswer()
	b := Append(nil, &s)
	_, err := Decode(reseal(append(b[:len(b)-checksumLen], 0)))
	check.ErrorIs(t, err, driver.ErrUndecodable, "a field of a later version in a record of this one")
}

// A length is compared with what there is before anything is made of it.
func TestHostileLengthsAllocateNothing(t *testing.T) {
	var empty Stored
	b := Append(nil, &empty)
	b = b[:len(b)-checksumLen]
	firstLength := len(b) - textCount - 1
	for at := firstLength; at < len(b); at++ {
		for _, length := range []uint64{uint64(len(b)), 1 << 28, math.MaxInt64, math.MaxUint64} {
			hostile := reseal(append(binary.AppendUvarint(bytes.Clone(b[:at]), length), b[at+1:]...))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Decode(hostile)
			runtime.ReadMemStats(&after)
			check.ErrorIs(t, err, driver.ErrUndecodable, "length %d at byte %d", length, at)
			allocated := after.TotalAlloc - before.TotalAlloc
			check.True(t, allocated < 1<<16, "length %d at byte %d: %d bytes were allocated", length, at, allocated)
		}
	}
}

// Errors are logged, and what is stored is not for logs.
func TestErrorsHoldNoContent(t *testing.T) {
	const secret = "xyzzy"
	s := doneTombstone()
	s.Outcome = []byte(strings.Repeat(secret, 40))
	texts := s.texts()
	for _, text := range texts {
		*text = secret
	}
	b := Append(nil, &s)
	for n := range len(b) - checksumLen {
		_, err := Decode(reseal(b[:n]))
		check.ErrorIs(t, err, driver.ErrUndecodable, "the first %d bytes", n)
		check.True(t, !strings.Contains(err.Error(), secret[:2]), "the first %d bytes: %v", n, err)
	}
}
