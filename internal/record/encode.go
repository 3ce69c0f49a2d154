package record

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"time"
)

const (
	major = 1
	minor = 0

	idTagAt     = 6 // the first byte after those of versions, phase, on crash, kind and flags
	textCount   = 10
	checksumLen = 4
)

// The flags.
const (
	givenUp = 1 << iota
	resolved
	ownNote // the outcome's note is stored apart

	knownFlags = givenUp | resolved | ownNote
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Append appends the encoding of s to dst. It may be called concurrently for the same s. It does not judge s: a phase,
// policy or kind that driver does not define is written, and refused by [Decode].
func Append(dst []byte, s *Stored) []byte {
	from := len(dst)
	dst = slices.Grow(dst, 256+len(s.Outcome)) // enough for most, so that there is one allocation
	dst = append(dst, major, max(minor, s.later.minor), byte(s.Phase), byte(s.OnCrash), byte(s.Kind), s.flags())
	dst = append(dst, s.IDTag[:]...)
	dst = append(dst, s.Owner[:]...)
	dst = append(dst, s.Labels.KeyTag[:]...)
	dst = append(dst, s.Labels.ScopeTag[:]...)
	dst = binary.AppendUvarint(dst, s.Fence)
	dst = binary.AppendVarint(dst, int64(s.Attempt))
	dst = binary.AppendVarint(dst, int64(s.MaxAttempts))
	for _, d := range [...]time.Duration{s.MaxExecution, s.Lease, s.Retain, s.DoubtRetain} {
		dst = binary.AppendVarint(dst, int64(d/time.Second))
		dst = binary.AppendVarint(dst, int64(d%time.Second))
	}
	for _, t := range [...]int64{s.Since, s.LeaseEnd, s.Gone} {
		dst = binary.AppendVarint(dst, t)
	}
	texts := s.texts()
	dst = appendTexts(dst, texts[:])
	if s.OutcomeNote != nil {
		texts := noteTexts(s.OutcomeNote)
		dst = appendTexts(dst, texts[:])
	}
	dst = binary.AppendUvarint(dst, uint64(len(s.Outcome)))
	dst = append(dst, s.Outcome...)
	dst = append(dst, s.later.fields...)
	return seal(dst, from)
}

func (s *Stored) flags() (f byte) {
	if s.GivenUp {
		f |= givenUp
	}
	if s.Resolved {
		f |= resolved
	}
	if s.OutcomeNote != nil {
		f |= ownNote
	}
	return f
}

func appendTexts(dst []byte, texts []*string) []byte {
	for _, text := range texts {
		dst = binary.AppendUvarint(dst, uint64(len(*text)))
	}
	for _, text := range texts {
		dst = append(dst, *text...)
	}
	return dst
}

// seal appends the checksum of the record that begins at from.
func seal(dst []byte, from int) []byte {
	return binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}
