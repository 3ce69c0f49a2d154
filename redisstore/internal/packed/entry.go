package packed

import (
	"encoding/binary"

	"github.com/onceward/onceward/driver"
)

// entryLen is the length of what a script makes of an entry.
const entryLen = 21

// DecodeEntry reads an entry of the key's audit trail, all but its id and time, which are not in it. A script has made it of
//
//	step      version 1 · which 1 · attempt 4 · fence 6 · kind 1 · length of the identity 4 · check 4
//	identity  as in the record
//	notes     of the step, as in a record
//
// Errors are as those of [Decode].
func DecodeEntry(key, value string) (e driver.Entry, err error) {
	if value == "" || value[0] != version {
		return e, undecodable("its first byte is not a version that is known here")
	}
	d := reader{key: key, left: value}
	b := d.part(entryLen, "step")
	if d.err != nil {
		return e, d.err
	}
	e.Step = driver.Step(b[1])
	e.Attempt = int(binary.BigEndian.Uint32(b[2:]))
	e.Fence = uint64(get48(b[6:]))
	e.Kind = driver.Kind(b[12])
	identity := d.take(int(binary.BigEndian.Uint32(b[13:])))
	notes := d.left
	var r Record
	d.open(identity, "identity")
	d.identity(&r)
	d.open(notes, "notes")
	d.notes(&r)
	e.Operation, e.KeyHint, e.KeyTag, e.Note = r.Labels.Operation, r.Labels.KeyHint, r.Labels.KeyTag, r.Note
	return e, d.err
}
