package packed

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

var update = flag.Bool("update", false, "write the golden files: only for a new version, since servers hold values like these")

const key = "onceward:{HVoC_xAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA}"

func claim() *driver.Claim {
	return &driver.Claim{
		Owner:       driver.Owner{0xa1, 0, 0xa3, 15: 0xaf},
		Fingerprint: driver.Fingerprint{Algorithm: "json-sha256/1", Sum: strings.Repeat("\xf0\x00\x9f\xff", 8)},
		OnCrash:     driver.Rerun, MaxAttempts: 5, MaxExecution: 10*time.Minute + 7,
		Lease: 1500 * time.Millisecond, Retain: 24 * time.Hour, DoubtRetain: 30 * 24 * time.Hour,
		Labels: driver.Labels{
			KeyTag: [8]byte{0x4b, 7: 0x4c}, ScopeTag: [8]byte{0x5c, 7: 0x5d}, KeyHint: "ord_…",
			Operation: "POST /api/payments", Route: "POST /api/{what}", Host: "api.example.com",
		},
		Note: driver.Note{Actor: "engine", TraceID: "4bf92f3577b34da6", Node: "payments-b"},
	}
}

// resolved is what a Resolve makes of a claim's record.
func resolved(c *driver.Claim, out *driver.Outcome, note *driver.Note) string {
	begun := BegunBy(&c.Owner, Beginning(string(AppendClaim(nil, key, c))))
	value := []byte(begun)
	value[stateAt], value[kindAt] = byte(Resolved), byte(out.Kind)
	put40(value[lifeAt:], Milliseconds(out.Retain))
	return string(AppendOutcome(seal(AppendNotes(value, note, &out.Note), 0, len(value), key), key, out))
}

var shapes = []struct {
	name string
	make func() string
	want func() Record
}{
	{"running", func() string { return string(AppendClaim(nil, key, claim())) }, running},
	{"done", func() string {
		out := driver.Outcome{Kind: driver.Answer, Bytes: []byte("\x00a\xff\n"), Note: driver.Note{Node: "payments-c"}}
		c := claim()
		begun := BegunBy(&c.Owner, Beginning(string(AppendClaim(nil, key, c))))
		return string(AppendDone(nil, key, begun, &out, begun.Retain()))
	}, func() Record {
		r := running()
		r.State, r.Kind, r.Life, r.Outcome = Done, driver.Answer, r.Retain, "\x00a\xff\n"
		r.Note = driver.Note{Node: "payments-c"}
		r.OutcomeNote = r.Note
		return r
	}},
	{"resolved", func() string {
		out := driver.Outcome{Kind: driver.Tombstone, Retain: time.Hour, Note: driver.Note{Reason: "too large"}}
		return resolved(claim(), &out, &driver.Note{Actor: "ops@example.com"})
	}, func() Record {
		r := running()
		r.State, r.Kind, r.Life = Resolved, driver.Tombstone, time.Hour
		r.Note, r.OutcomeNote = driver.Note{Actor: "ops@example.com"}, driver.Note{Reason: "too large"}
		return r
	}},
}

func running() Record {
	c := claim()
	return Record{
		State: Running, OnCrash: c.OnCrash, Owner: c.Owner, Fence: 1, Attempt: 1, MaxAttempts: 5, Lease: c.Lease,
		Life: c.DoubtRetain, Retain: c.Retain, Fingerprint: c.Fingerprint, Labels: c.Labels, MaxExecution: c.MaxExecution,
		Note: c.Note, OutcomeNote: c.Note,
	}
}

func TestGolden(t *testing.T) {
	for _, shape := range shapes {
		file := filepath.Join("testdata", shape.name+".golden")
		value := shape.make()
		if *update {
			check.NoError(t, os.WriteFile(file, []byte(value), 0o600), "%s", file)
		}
		golden, err := os.ReadFile(file)
		check.NoError(t, err, "%s", file)
		check.Equal(t, value, string(golden), "%s, encoded", shape.name)
		got, err := Decode(key, string(golden))
		check.NoError(t, err, "%s", shape.name)
		check.Equal(t, got, shape.want(), "%s, decoded", shape.name)
	}
}

// A residue is only ever made by a script.
func TestGoldenResidue(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "residue.golden"))
	check.NoError(t, err, "residue")
	got, err := Decode(key, string(golden))
	check.NoError(t, err, "residue")
	check.Equal(t, got, Record{State: Residue, Owner: claim().Owner, Fence: 7, Life: time.Minute}, "residue, decoded")
	check.Equal(t, got.Life, driver.MinResidue, "what the scripts take for driver.MinResidue")
	for _, wrong := range []string{string(golden) + "x", string(golden[:len(golden)-1])} {
		_, err = Decode(key, wrong)
		check.ErrorIs(t, err, driver.ErrUndecodable, "a residue of %d bytes", len(wrong))
	}
}

// Entries too are made by scripts.
func TestGoldenEntry(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "entry.golden"))
	check.NoError(t, err, "entry")
	got, err := DecodeEntry(key, string(golden))
	check.NoError(t, err, "entry")
	l := claim().Labels
	check.Equal(t, got, driver.Entry{
		Step: driver.StepTakenOver, Attempt: 3, Fence: 9, Operation: l.Operation, KeyHint: l.KeyHint, KeyTag: l.KeyTag, Note: claim().Note,
	}, "entry, decoded")
	for bit := range 8 * len(golden) {
		golden[bit/8] ^= 1 << (bit % 8)
		_, err := DecodeEntry(key, string(golden))
		check.ErrorIs(t, err, driver.ErrUndecodable, "an entry with bit %d flipped", bit)
		golden[bit/8] ^= 1 << (bit % 8)
	}
	for n := range golden {
		_, err := DecodeEntry(key, string(golden[:n]))
		check.ErrorIs(t, err, driver.ErrUndecodable, "the first %d bytes of an entry", n)
	}
}

func TestFlippedBitsAreRefused(t *testing.T) {
	for _, shape := range shapes {
		value := []byte(shape.make())
		for bit := range 8 * len(value) {
			value[bit/8] ^= 1 << (bit % 8)
			_, err := Decode(key, string(value))
			check.ErrorIs(t, err, driver.ErrUndecodable, "%s with bit %d flipped", shape.name, bit)
			value[bit/8] ^= 1 << (bit % 8)
		}
		for n := range value {
			_, err := Decode(key, string(value[:n]))
			check.ErrorIs(t, err, driver.ErrUndecodable, "the first %d bytes of %s", n, shape.name)
		}
		_, err := Decode(key, string(append(value, 0)))
		check.ErrorIs(t, err, driver.ErrUndecodable, "%s and one more byte", shape.name)
		_, err = Decode(key+"x", string(value))
		check.ErrorIs(t, err, driver.ErrUndecodable, "%s under another key", shape.name)
	}
}

// Each part is under the key's checksum, so that parts of two keys do not make a record.
func TestPartsOfOtherKeysAreRefused(t *testing.T) {
	mine, other := shapes[1].make(), string(AppendClaim(nil, "other", claim()))
	for _, at := range []int{0, 1, headLen, len(Beginning(mine)), len(mine) - 6} {
		mixed := mine[:at] + other[at:]
		_, err := Decode(key, mixed)
		check.ErrorIs(t, err, driver.ErrUndecodable, "the first %d bytes of one record and the rest of another", at)
	}
}

func TestFingerprintsBeginTheIdentity(t *testing.T) {
	c := claim()
	value := string(AppendClaim(nil, key, c))
	check.True(t, strings.HasPrefix(value[headLen:], string(AppendFingerprint(nil, &c.Fingerprint))), "it begins otherwise")
	for _, other := range []driver.Fingerprint{
		{}, {Algorithm: c.Fingerprint.Algorithm}, {Sum: c.Fingerprint.Sum},
		{Algorithm: c.Fingerprint.Algorithm, Sum: c.Fingerprint.Sum[:31]}, {Algorithm: c.Fingerprint.Algorithm + "x", Sum: c.Fingerprint.Sum},
	} {
		check.True(t, !strings.HasPrefix(value[headLen:], string(AppendFingerprint(nil, &other))), "%q matches", other)
	}
}

// Who does not know how a record began sends nothing that could be taken for one.
func TestBegun(t *testing.T) {
	c := claim()
	beginning := Beginning(string(AppendClaim(nil, key, c)))
	known, other := BegunBy(&c.Owner, beginning), driver.Owner{1}
	check.Equal(t, string(known), beginning, "the owner's own")
	check.Equal(t, known.Retain(), Milliseconds(c.Retain), "the retention of a known one")
	awaited := beginning[:stateAt] + string(rune(Awaited)) + beginning[ownerAt:]
	for what, b := range map[string]Begun{
		"nothing": BegunBy(&c.Owner, ""), "another owner's": BegunBy(&other, beginning), "one that is awaited": BegunBy(&c.Owner, awaited),
	} {
		check.Equal(t, b.Retain(), 0, "the retention of %s", what)
		check.True(t, !strings.HasPrefix(beginning, b.Mark()) && !strings.HasPrefix(awaited, b.Mark()), "%s begins as the record does", what)
		check.True(t, len(b.Mark()) == len(known.Mark()), "%s has a mark of %d bytes", what, len(b.Mark()))
	}
	for n := range headLen + 1 {
		check.True(t, len(Beginning(beginning[:n])) <= n, "the beginning of %d bytes", n)
	}
}

func TestMilliseconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		-1: 1, 0: 1, 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, time.Second: 1000, math.MaxInt64: 1<<40 - 1,
	} {
		check.Equal(t, Milliseconds(d), want, "%v", d)
	}
}

func TestLongDurations(t *testing.T) {
	c := claim()
	c.Lease, c.DoubtRetain, c.Retain, c.MaxExecution = math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64
	r, err := Decode(key, string(AppendClaim(nil, key, c)))
	check.NoError(t, err, "a record for ever")
	check.Equal(t, r.MaxExecution, time.Duration(math.MaxInt64), "max execution")
	for _, d := range []time.Duration{r.Lease, r.Life, r.Retain} {
		check.True(t, d > 34*365*24*time.Hour, "for ever became %v", d)
	}
}

func FuzzDecode(f *testing.F) {
	for _, shape := range shapes {
		f.Add(shape.make())
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, decode := range []func(key, value string) (Record, error){Decode, DecodeWithoutOutcome} {
			if _, err := decode(key, value); err != nil {
				check.ErrorIs(t, err, driver.ErrUndecodable, "a value")
			}
		}
		if _, err := DecodeEntry(key, value); err != nil {
			check.ErrorIs(t, err, driver.ErrUndecodable, "an entry")
		}
		// Whatever the checks let pass by accident must not break the reader either.
		d := reader{key: key, left: value, name: "identity"}
		d.identity(new(Record))
		d = reader{key: key, left: value, name: "notes"}
		d.notes(new(Record))
	})
}
