package storetest

import (
	"bytes"
	crand "crypto/rand"
	"strings"

	"github.com/onceward/onceward/driver"
)

// Rules 9 and 10: what goes in comes out.

// awkward are texts that stores are known to change.
var awkward = []string{
	"", " ", "a", "A", "a ", " a", "a\x00", "\x00", "\x00a", "a\n", "ä", "a\u0308", "\xff\xfe", "\xc3", "\xed\xa0\x80",
	"0", "00", "-0", "false", "null", "nil", `""`, "{}", "[]", "%00", `\`, `\0`, "'", "\r\n", "\u2028", "🦊",
}

func opaqueBytes(t *trial) {
	idsAreBytes(t)
	fingerprintsAreBytes(t)
	outcomesComeBack(t)
	labelsComeBack(t)
}

func idsAreBytes(t *trial) {
	base := newID()
	ids := []driver.ID{base}
	for _, b := range []byte{0, ' ', '\n', 'a', 'A', '%', 0x7f, 0x80, 0xff} {
		for _, at := range []int{0, 15, len(base) - 1} {
			id := base
			if id[at] != b {
				id[at] = b
				ids = append(ids, id)
			}
		}
	}
	for _, id := range ids {
		c := t.claim()
		t.wants(driver.Acquired, id, c, "Acquire of an id that differs in one byte from others")
		t.ok(t.complete(id, c.Owner, answer(id.String())), "Complete")
	}
	for _, id := range ids {
		t.outcome(t.get(id), answer(id.String()), "the record of an id that differs in one byte from others")
	}
}

func fingerprintsAreBytes(t *trial) {
	for i, text := range awkward {
		id, c := newID(), t.claim()
		c.Fingerprint = driver.Fingerprint{Algorithm: text, Sum: text}
		t.acquire(id, c)
		if got := t.get(id).Fingerprint; got != c.Fingerprint {
			t.fatalf("the fingerprint %+q came back as %+q", c.Fingerprint, got)
		}
		t.wants(driver.Running, id, by(c), "Acquire with the same fingerprint %+q", text)
		for j, other := range awkward {
			if i == j {
				continue
			}
			o := by(c)
			o.Fingerprint.Sum = other
			t.wants(driver.Mismatch, id, o, "Acquire with the sum %+q where %+q is stored", other, text)
			o.Fingerprint = driver.Fingerprint{Algorithm: other, Sum: text}
			t.wants(driver.Mismatch, id, o, "Acquire with the algorithm %+q where %+q is stored", other, text)
		}
	}
	id, c := newID(), t.claim()
	c.Fingerprint = driver.Fingerprint{Algorithm: "a", Sum: "bc"}
	t.acquire(id, c)
	c.Fingerprint = driver.Fingerprint{Algorithm: "ab", Sum: "c"}
	t.wants(driver.Mismatch, id, by(c), "Acquire with the same letters cut between algorithm and sum in another place")
}

func outcomesComeBack(t *trial) {
	const large = 1<<20 + 1<<19 // a body of 1 MiB comes with its headers
	texts := append([]string{strings.Repeat("\x00", 100), everyByte(), random(large)}, awkward...)
	for i, text := range texts {
		out := driver.Outcome{Kind: driver.Answer + driver.Kind(i%2), Bytes: []byte(text)}
		id, c := newID(), t.claim()
		t.acquire(id, c)
		t.ok(t.complete(id, c.Owner, out), "Complete with %s", show(out))
		t.outcome(t.get(id), out, "Get after Complete")
		t.outcome(t.wants(driver.Done, id, by(c), "Acquire after Complete").Record, out, "the replay")

		id = newID()
		fence := t.acquire(id, c).Record.Fence
		t.ok(t.resolve(id, driver.Resolution{Fence: fence, Outcome: &out, Force: true}), "Resolve with %s", show(out))
		t.outcome(t.get(id), out, "Get after Resolve")
	}
	id, c := newID(), t.claim()
	t.acquire(id, c)
	t.ok(t.complete(id, c.Owner, driver.Outcome{Kind: driver.Answer}), "Complete with nil bytes")
	t.outcome(t.wants(driver.Done, id, by(c), "Acquire after Complete with nil bytes").Record, answer(""), "the replay")
	t.ok(t.complete(id, c.Owner, answer("")), "Complete repeated with empty bytes where they were nil")
}

func everyByte() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

func random(size int) string {
	b := make([]byte, size)
	_, _ = crand.Read(b) // never fails: it ends the program instead
	return string(b)
}

func labelsComeBack(t *trial) {
	id, c := newID(), t.claim()
	c.Labels = driver.Labels{
		KeyTag: [8]byte{0, 1, 0xff}, KeyHint: "ab…yz", ScopeTag: [8]byte{0xfe, 0},
		Operation: "POST /payments", Route: "/payments/{id}", Host: "api.example",
	}
	c.Note = driver.Note{Actor: "caller", Reason: "Zahlung für 'Müller' \"100 %\"", TraceID: "4bf92f35", Node: "n1"}
	g := t.acquire(id, c)
	labelled := func(r driver.Record, note driver.Note, when string) {
		t.Helper()
		if r.Labels != c.Labels || r.Note != note {
			t.fatalf("%s the record has\n\t%+v\n\t%+v\nwant\n\t%+v\n\t%+v", when, r.Labels, r.Note, c.Labels, note)
		}
	}
	labelled(g.Record, c.Note, "in the answer to Acquire")
	labelled(t.get(id), c.Note, "after Acquire")
	gaveUp := driver.Note{Actor: "owner", Reason: "hung", TraceID: "2", Node: "n2"}
	t.ok(t.store.Extend(bg, id, c.Owner, driver.Extension{Note: gaveUp}), "Extend with lease 0")
	labelled(t.get(id), gaveUp, "after Extend with lease 0")
	out := answer("done")
	out.Note = driver.Note{Actor: "owner", Reason: "came back", TraceID: "3", Node: "n3"}
	t.ok(t.complete(id, c.Owner, out), "Complete")
	labelled(t.get(id), out.Note, "after Complete")
	labelled(t.wants(driver.Done, id, by(c), "Acquire after Complete").Record, out.Note, "in the replay")
	resolved := driver.Note{Actor: "operator", Reason: "asked the bank", TraceID: "4", Node: "n4"}
	out = answer("resolved")
	r := driver.Resolution{Fence: g.Record.Fence, Outcome: &out, Force: true, Note: resolved}
	t.ok(t.resolve(id, r), "forced Resolve")
	labelled(t.get(id), resolved, "after Resolve")
}

func slicesBelongToTheCaller(t *trial) {
	want := answer("the stored answer")
	completed, resolved := newID(), newID()
	c := t.claim()
	t.acquire(completed, c)
	fence := t.acquire(resolved, c).Record.Fence

	mine := bytes.Clone(want.Bytes)
	t.ok(t.complete(completed, c.Owner, driver.Outcome{Kind: want.Kind, Bytes: mine}), "Complete")
	scribble(mine)
	mine = bytes.Clone(want.Bytes)
	out := driver.Outcome{Kind: want.Kind, Bytes: mine}
	t.ok(t.resolve(resolved, driver.Resolution{Fence: fence, Outcome: &out, Force: true}), "Resolve")
	scribble(mine)
	out.Kind = driver.Tombstone

	for _, id := range []driver.ID{completed, resolved} {
		first := t.get(id)
		t.outcome(first, want, "after the caller wrote into the slice it had passed in")
		again := t.get(id)
		scribble(first.Outcome.Bytes)
		t.outcome(again, want, "a record read before the caller wrote into the slice of another reading")
		t.outcome(t.get(id), want, "after the caller wrote into the slice that Get returned")
		scribble(t.wants(driver.Done, id, by(c), "Acquire of a done key").Record.Outcome.Bytes)
		t.outcome(t.get(id), want, "after the caller wrote into the slice that Acquire returned")
	}
	slicesOfInterruptedCalls(t, want)
}

func scribble(b []byte) {
	clear(b)
	_ = append(b[:0], "scribbled over"...)
}

// slicesOfInterruptedCalls checks that a slice is the caller's again as soon as Complete has returned, however it ended:
// what is stored, now or later, is what was passed in.
func slicesOfInterruptedCalls(t *trial, want driver.Outcome) {
	type interrupted struct {
		what  string
		id    driver.ID
		owner driver.Owner
		err   error
	}
	var all []interrupted
	for what, interruption := range interruptions() {
		id, c := newID(), t.claim()
		t.acquire(id, c)
		mine := bytes.Clone(want.Bytes)
		ctx, cancel := interruption()
		err := t.store.Complete(ctx, id, c.Owner, driver.Outcome{Kind: want.Kind, Bytes: mine})
		scribble(mine)
		cancel()
		all = append(all, interrupted{what, id, c.Owner, err})
	}
	t.outlive() // a call that was cut off may arrive late
	for _, i := range all {
		if r := t.get(i.id); r.Phase == driver.PhaseDone {
			t.outcome(r, want, "after Complete with %s returned %s and the caller wrote into its slice", i.what, errorText(i.err))
		}
		t.ok(t.complete(i.id, i.owner, want), "Complete repeated after one with %s", i.what)
		t.outcome(t.get(i.id), want, "after Complete was repeated")
	}
}
