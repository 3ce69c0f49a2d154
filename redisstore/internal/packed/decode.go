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
	outcome := d.state(&r)
	section := d.take(d.head(&r))
	if !whole {
		outcome = 0
	}
	stored := d.take(outcome)
	notes := d.left
	if r.State == Residue && d.err == nil && len(value) > headLen+stateLen {
		d.fail("more follows than belongs to")
	}
	if r.State == Residue || d.err != nil {
		return r, d.err
	}
	d.open(section, "identity")
	d.identity(&r)
	if outcome > 0 {
		d.open(stored, "outcome")
		r.Outcome = d.rest()
	}
	d.open(notes, "notes")
	d.notes(&r)
	return r, d.err
}

// state returns the length of the outcome.
func (d *reader) state(r *Record) (outcome int) {
	b := d.part(stateLen, "state")
	if d.err != nil {
		return 0
	}
	r.State, r.Owner = State(b[1]), driver.Owner(b[ownerAt:ownerEnd])
	b = b[ownerEnd:]
	r.Kind = driver.Kind(b[0])
	r.Life, r.Elapsed = duration(b[1:]), duration(b[7:])
	return int(binary.BigEndian.Uint32(b[13:]))
}

// head returns the length of the identity.
func (d *reader) head(r *Record) (identity int) {
	b := d.part(headLen, "head")
	if d.err != nil {
		return 0
	}
	r.OnCrash = driver.OnCrash(b[0])
	r.Fence = uint64(get48(b[1:]))
	r.Attempt = int(binary.BigEndian.Uint32(b[7:]))
	r.MaxAttempts = int(binary.BigEndian.Uint32(b[11:]))
	r.Lease, r.Retain = duration(b[15:]), duration(b[21:])
	if r.Life == 0 {
		r.Life = r.Retain
	}
	return int(binary.BigEndian.Uint32(b[27:]))
}

// part takes what ends with a check.
func (d *reader) part(length int, name string) []byte {
	d.name = name
	b := raw(d.take(length))
	if end := length - checkLen; d.err == nil && digest(d.key, b[:end]) != [checkLen]byte(b[end:]) {
		d.fail("the check is wrong of")
	}
	return b
}

func get48(b []byte) int64 {
	return int64(binary.BigEndian.Uint32(b))<<16 | int64(binary.BigEndian.Uint16(b[4:]))
}

// duration reads one. What is longer than a Duration can be was as long as one can be.
func duration(b []byte) time.Duration {
	const most = int64(1<<63-1) / int64(time.Millisecond)
	return time.Duration(min(get48(b), most)) * time.Millisecond
}

// reader reads a value or a section. What it returns after a failure is to be thrown away, so that callers look at err once.
type reader struct {
	key  string
	name string
	left string
	err  error
}

// open verifies the section and goes to its beginning.
func (d *reader) open(section, name string) {
	d.name, d.left = name, ""
	end := len(section) - checkLen
	if end < 0 || binary.BigEndian.Uint32(raw(section[end:])) != sum(d.key, raw(section[:end])) {
		d.fail("the checksum is wrong in")
		return
	}
	d.left = section[:end]
}

func (d *reader) fail(what string) {
	if d.err == nil {
		d.err = undecodable(what + " its " + d.name)
	}
}

func (d *reader) identity(r *Record) {
	l := &r.Labels
	r.Fingerprint.Algorithm = d.text()
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

func (d *reader) note() driver.Note {
	return driver.Note{Actor: d.text(), Reason: d.text(), TraceID: d.text(), Node: d.text()}
}

func (d *reader) rest() string { return d.take(len(d.left)) }

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
