package packed

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
)

// Decode reads the value of the key. The strings of the record are parts of value.
//
// Each error wraps [driver.ErrUndecodable] and says what is wrong, but nothing that was stored.
func Decode(key, value string) (Record, error) {
	return decode(key, value, true)
}

// DecodeWithoutOutcome reads a value whose outcome section was left out, as lists do.
func DecodeWithoutOutcome(key, value string) (Record, error) {
	return decode(key, value, false)
}

func decode(key, value string, whole bool) (Record, error) {
	var r Record
	if value == "" || value[0] != version {
		return r, undecodable("its first byte is not a version that is known here")
	}
	d := reader{key: key, left: value}
	identity, notes := d.head(&r)
	outcome := d.left
	if d.err != nil {
		return r, d.err
	}
	if r.State != Residue {
		d.read(identity, "identity", func() { d.identity(&r) })
		d.read(notes, "notes", func() { d.notes(&r) })
	}
	d.name, d.left = "outcome", outcome
	if whole && r.State >= Done {
		r.Outcome = d.outcome()
	}
	if d.left != "" {
		d.fail("more follows than belongs to")
	}
	return r, d.err
}

// head returns the sections that are under its check.
func (d *reader) head(r *Record) (identity, notes string) {
	d.name = "head"
	all := d.left
	b := raw(d.take(headLen))
	if d.err != nil {
		return "", ""
	}
	identityLen, notesLen := get24(b[identityAt:]), get24(b[notesAt:])
	texts := d.take(identityLen + notesLen)
	checked := raw(all[:headLen+len(texts)])
	if d.err == nil && digest(d.key, checked[:checkAt], checked[kindAt:]) != [checkLen]byte(b[checkAt:]) {
		d.fail("the check is wrong of")
	}
	if d.err != nil {
		return "", ""
	}
	r.State, r.Owner = State(b[stateAt]), driver.Owner(b[ownerAt:checkAt])
	r.Kind, r.OnCrash = driver.Kind(b[kindAt]), driver.OnCrash(b[onCrashAt])
	r.Fence = uint64(get40(b[fenceAt:]))
	r.Attempt, r.MaxAttempts = get24(b[attemptAt:]), get24(b[maxAt:])
	r.Life, r.Elapsed = duration(b[lifeAt:]), duration(b[elapsedAt:])
	r.Lease, r.Retain = duration(b[leaseAt:]), duration(b[retainAt:])
	return texts[:identityLen], texts[identityLen:]
}

func duration(b []byte) time.Duration { return time.Duration(get40(b)) * time.Millisecond }

// reader reads a value or a section. What it returns after a failure is to be thrown away, so that callers look at err once.
type reader struct {
	key  string
	name string
	left string
	err  error
}

// read reads a section to its end.
func (d *reader) read(section, name string, by func()) {
	d.name, d.left = name, section
	by()
	if d.left != "" {
		d.fail("more follows than belongs to")
	}
}

// outcome is all that is left but its checksum.
func (d *reader) outcome() string {
	end := len(d.left) - checkLen
	if end < 0 || binary.BigEndian.Uint32(raw(d.left[end:])) != sum(d.key, raw(d.left[:end])) {
		d.fail("the checksum is wrong in")
		return ""
	}
	outcome := d.take(end)
	d.left = ""
	return outcome
}

func (d *reader) fail(what string) {
	if d.err == nil {
		d.err = undecodable(what + " its " + d.name)
	}
}

func (d *reader) identity(r *Record) {
	l := &r.Labels
	r.Fingerprint.Algorithm = d.algorithm()
	r.Fingerprint.Sum = d.text()
	copy(l.KeyTag[:], d.take(len(l.KeyTag)))
	copy(l.ScopeTag[:], d.take(len(l.ScopeTag)))
	r.MaxExecution = time.Duration(d.varint())*time.Second + time.Duration(d.varint())
	l.KeyHint = d.text()
	l.Operation = d.text()
	if n := d.uvarint(); n == 0 {
		l.Route = l.Operation
	} else {
		l.Route = d.take(int(n - 1))
	}
	l.Host = d.text()
}

func (d *reader) notes(r *Record) {
	r.Note = d.note()
	r.OutcomeNote = r.Note
	if d.left != "" {
		r.OutcomeNote = d.note()
	}
}

func (d *reader) note() (n driver.Note) {
	has := d.byte()
	for i, text := range [...]*string{&n.Actor, &n.Reason, &n.TraceID, &n.Node} {
		if has&(1<<i) != 0 {
			*text = d.text()
		}
	}
	return n
}

func (d *reader) algorithm() string {
	switch n := int(d.byte()); {
	case n == 0:
		return d.text()
	case n > len(algorithms):
		d.fail("an algorithm is unknown in")
		return ""
	default:
		return algorithms[n-1]
	}
}

func (d *reader) text() string { return d.take(int(d.uvarint())) }

// take returns the next n bytes, or none.
func (d *reader) take(n int) (s string) {
	if n < 0 || n > len(d.left) {
		d.fail("a length is wrong in")
		return ""
	}
	s, d.left = d.left[:n], d.left[n:]
	return s
}

func (d *reader) byte() byte {
	b := d.take(1)
	if b == "" {
		return 0
	}
	return b[0]
}

func (d *reader) uvarint() uint64 {
	v, n := binary.Uvarint(raw(d.left))
	if n <= 0 {
		d.fail("a number is wrong in")
		return 0
	}
	d.left = d.left[n:]
	return v
}

func (d *reader) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func undecodable(what string) error {
	return fmt.Errorf("%w: %s", driver.ErrUndecodable, what)
}
