package packed

import "github.com/onceward/onceward/driver"

// entryLen is the length of what a script makes of an entry.
const entryLen = 18

// DecodeEntry reads an entry of the key's audit trail, all but its id and time, which are not in it. A script has made it of
//
//	step      version 1 · which 1 · attempt 3 · fence 5 · kind 1 · length of the identity 3 · check 4, as that of a head
//	identity  as in the record
//	notes     of the step, as in a record
//
// Errors are as those of [Decode].
func DecodeEntry(key, value string) (e driver.Entry, err error) {
	if value == "" || value[0] != version {
		return e, undecodable("its first byte is not a version that is known here")
	}
	d := reader{key: key, left: value, name: "step"}
	step := raw(d.take(entryLen))
	if d.err != nil {
		return e, d.err
	}
	end := entryLen - checkLen
	if digest(key, step[:end], raw(d.left)) != [checkLen]byte(step[end:]) {
		d.fail("the check is wrong of")
		return e, d.err
	}
	e.Step = driver.Step(step[1])
	e.Attempt, e.Fence, e.Kind = get24(step[2:]), uint64(get40(step[5:])), driver.Kind(step[10])
	identity := d.take(get24(step[11:]))
	notes := d.left
	var r Record
	d.read(identity, "identity", func() { d.identity(&r) })
	d.read(notes, "notes", func() { d.notes(&r) })
	e.Operation, e.KeyHint, e.KeyTag, e.Note = r.Labels.Operation, r.Labels.KeyHint, r.Labels.KeyTag, r.Note
	return e, d.err
}
