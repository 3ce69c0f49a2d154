package record

import (
	"bytes"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// FuzzDecode reads arbitrary bytes, as they are and under a right checksum, without which none would get past it.
func FuzzDecode(f *testing.F) {
	for _, shape := range shapes {
		b := Append(nil, &shape.value)
		f.Add(b, uint(3))
		f.Add(b[:len(b)-checksumLen], uint(300))
	}
	f.Fuzz(func(t *testing.T, b []byte, bit uint) {
		for _, b := range [][]byte{b, reseal(b)} {
			s, err := Decode(b)
			if err != nil {
				check.ErrorIs(t, err, driver.ErrUndecodable, "decode")
				check.Equal(t, s, Stored{}, "what comes with an error")
				continue
			}
			check.True(t, bytes.Equal(Append(nil, &s), b), "%x was read, and is written as %x", b, Append(nil, &s))

			bit %= uint(8 * len(b))
			b = bytes.Clone(b)
			b[bit/8] ^= 1 << (bit % 8)
			_, err = Decode(b)
			check.ErrorIs(t, err, driver.ErrUndecodable, "with bit %d flipped", bit)
		}
	})
}

// FuzzAppend writes arbitrary values and wants them back.
func FuzzAppend(f *testing.F) {
	f.Add(byte(0), uint64(1), int64(time.Minute), "POST /payments", []byte("{}"))
	f.Add(byte(0xff), uint64(1)<<63, int64(-1)<<63, "\x00\xff", []byte(nil))
	f.Fuzz(func(t *testing.T, bits byte, fence uint64, n int64, text string, outcome []byte) {
		half := text[:len(text)/2]
		s := Stored{
			Phase: driver.Phase(bits % 3), OnCrash: driver.OnCrash(bits / 3 % 3), Kind: driver.Kind(bits / 9 % 3),
			GivenUp: bits&1 != 0, Resolved: bits&2 != 0,
			Fence: fence, Attempt: int(n), MaxAttempts: -int(n),
			Labels:       driver.Labels{KeyHint: half, Operation: text, Host: half},
			Fingerprint:  driver.Fingerprint{Algorithm: half, Sum: text},
			Note:         driver.Note{Reason: text, Node: half},
			MaxExecution: time.Duration(n), Lease: -time.Duration(n), Retain: time.Duration(^n), DoubtRetain: time.Duration(n) / 7,
			Since: n, LeaseEnd: ^n, Gone: -n,
			Outcome: append([]byte(nil), outcome...), // nil if empty, as it will come back
		}
		copy(s.Owner[:], text)
		copy(s.IDTag[:], half)
		if bits&4 != 0 {
			s.OutcomeNote = &driver.Note{Actor: half, TraceID: text}
		}
		got, err := Decode(Append(nil, &s))
		check.NoError(t, err, "decode")
		check.Equal(t, got, s, "the record")
	})
}
