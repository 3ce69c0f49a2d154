package diskstore

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

var update = flag.Bool("update", false, "write the golden files: only for a new version, since stores hold entries like these")

var goldenEntries = map[string]driver.Entry{
	"acquired": {
		ID: driver.ID{1, 2, 3}, Time: time.Unix(1_800_000_000, 123_456_789), Step: driver.StepAcquired, Attempt: 1, Fence: 1,
		Operation: "POST /orders", KeyHint: "0198…", KeyTag: [8]byte{1, 2, 3, 4, 5, 6, 7, 8},
		Note: driver.Note{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736", Node: "node-1"},
	},
	"forced": {
		ID: driver.ID{31: 0xff}, Time: time.Unix(1_800_000_001, 0), Step: driver.StepForced, Attempt: 300, Fence: 1 << 63,
		Kind: driver.Tombstone, Note: driver.Note{Actor: "ops \x00\xff", Reason: "seen at the bank"},
	},
	"nothing": {Time: time.Unix(0, 0)},
}

func TestGoldenEntries(t *testing.T) {
	for name, want := range goldenEntries {
		file := filepath.Join("testdata", "entry-1-"+name+".golden")
		key := trailKey(want.Time.UnixNano(), want.ID)
		if *update {
			check.NoError(t, os.WriteFile(file, []byte(hex.Dump(encodeEntry(key, &want))), 0o600), "%s", file)
		}
		golden, err := os.ReadFile(file)
		check.NoError(t, err, "%s", file)
		value := encodeEntry(key, &want)
		check.Equal(t, hex.Dump(value), string(golden), "%s", name)
		got, err := decodeEntry(key, value)
		check.NoError(t, err, "%s", name)
		check.Equal(t, got, want, "%s, decoded", name)
	}
}

// Whatever byte is changed or missing, of the entry or of its key, is found out.
func TestBrokenEntriesAreRefused(t *testing.T) {
	for name, e := range goldenEntries {
		key := trailKey(e.Time.UnixNano(), e.ID)
		value := encodeEntry(key, &e)
		refused := func(key, value []byte, what string, at int) {
			t.Helper()
			_, err := decodeEntry(key, value)
			check.ErrorIs(t, err, driver.ErrUndecodable, "%s with %s %d", name, what, at)
		}
		for at := range value {
			broken := slices.Clone(value)
			broken[at] ^= 1
			refused(key, broken, "a flipped bit in byte", at)
			refused(key, value[:at], "a length of", at)
		}
		for at := 1; at < len(key); at++ {
			broken := slices.Clone(key)
			broken[at] ^= 1
			refused(broken, value, "a flipped bit in byte of the key", at)
		}
		// The checksum is right, and what it covers is not.
		for at := 1; at < len(value)-entryChecksum; at++ {
			resealed := binary.LittleEndian.AppendUint32(slices.Clone(value[:at]), checksum(key, value[:at]))
			refused(key, resealed, "a length under a right checksum of", at)
		}
	}
}

// What a later version wrote is not left out, or the trail would look complete.
func TestEntriesOfALaterVersionAreUnavailable(t *testing.T) {
	s := openTrail(t, "data", vfs.NewMem(), driver.AuditTransitions, 0)
	id, other := keyOf(0, 0, 0), keyOf(0, 0, 1)
	acquire(t, s, id)
	later := s.trail.moment(s.now())
	acquire(t, s, other)
	key := trailKey(later, id)
	value := encodeEntry(key, &driver.Entry{})
	value = value[:len(value)-entryChecksum]
	value[0]++
	value = binary.LittleEndian.AppendUint32(value, checksum(key, value))
	check.NoError(t, s.db.Set(key, value, pebble.Sync), "storing an entry of a later version")
	for _, q := range []driver.HistoryQuery{{}, {ID: &id}} {
		_, _, err := s.History(bg, q)
		check.ErrorIs(t, err, driver.ErrUndecodable, "History")
	}
	for _, q := range []driver.HistoryQuery{{Until: time.Unix(0, later)}, {Since: time.Unix(0, later+1)}} {
		page, _, err := s.History(bg, q)
		check.NoError(t, err, "History beside it")
		check.Equal(t, len(page), 1, "entries beside it")
	}
	rec, err := s.Get(bg, id)
	check.NoError(t, err, "Get")
	check.Equal(t, rec.State(), "running", "the key itself")
}

// days makes a key a day for so many days, and returns the ids.
func days(t *testing.T, s *Store, n int) (ids []driver.ID) {
	t.Helper()
	for day := range n {
		id := keyOf(0, 0, day)
		ids = append(ids, id)
		acquire(t, s, id)
		check.NoError(t, complete(s, id), "Complete")
		skip(s, 24*time.Hour)
	}
	return ids
}

func (s *Store) trailKeys(t *testing.T) (entries, marks int) {
	t.Helper()
	entries, err := s.each(trailPrefix, func(_, _ []byte) error { return nil })
	check.NoError(t, err, "counting entries")
	marks, err = s.each(markPrefix, func(_, _ []byte) error { return nil })
	check.NoError(t, err, "counting marks")
	return entries, marks
}

func TestTrailIsRemovedByDays(t *testing.T) {
	s := openTrail(t, "data", vfs.NewMem(), driver.AuditTransitions, 3*24*time.Hour)
	ids := days(t, s, 10) // those of day 7 are three days old
	for n, id := range ids {
		page, _, err := s.History(bg, driver.HistoryQuery{ID: &id})
		check.NoError(t, err, "History")
		check.Equal(t, len(page) > 0, n > 7, "whether there are entries of day %d", n)
	}
	entries, marks := s.trailKeys(t)
	check.Equal(t, [2]int{entries, marks}, [2]int{20, 10}, "entries and marks")
	for range 2 {
		_, err := s.Sweep(bg, 1000)
		check.NoError(t, err, "Sweep")
		entries, marks = s.trailKeys(t)
		check.Equal(t, [2]int{entries, marks}, [2]int{6, 3}, "entries and marks after a sweep")
	}
	all, _, err := s.History(bg, driver.HistoryQuery{})
	check.NoError(t, err, "History")
	check.Equal(t, len(all), 4, "entries that are left to read")
}

func TestTrailIsKeptForEver(t *testing.T) {
	s := openTrail(t, "data", vfs.NewMem(), driver.AuditTransitions, -1)
	ids := days(t, s, 400)
	_, err := s.Sweep(bg, 1000)
	check.NoError(t, err, "Sweep")
	page, _, err := s.History(bg, driver.HistoryQuery{ID: &ids[0]})
	check.NoError(t, err, "History")
	check.Equal(t, len(page), 2, "entries of the first day")
}

// The cost of reading an id does not grow with what happened to others on the same days.
func TestReadingAnIDLooksAtItsSecondsOnly(t *testing.T) {
	s := openTrail(t, "data", vfs.NewMem(), driver.AuditAll, 0)
	id := keyOf(1, 0, 0)
	acquire(t, s, id)
	for n := range 2000 {
		skip(s, time.Second)
		acquire(t, s, keyOf(2, 0, n))
	}
	check.NoError(t, complete(s, id), "Complete")
	for n := range 3 {
		skip(s, 24*time.Hour)
		acquire(t, s, keyOf(3, 0, n))
	}
	r := &trailReader{ctx: bg, snapshot: s.db.NewSnapshot(), query: &driver.HistoryQuery{ID: &id, Limit: 10}}
	check.NoError(t, r.scanID(id, 0, s.now()), "scanID")
	check.NoError(t, r.snapshot.Close(), "closing")
	check.Equal(t, len(r.page), 2, "entries")
	check.True(t, r.visited < 10, "%d entries were looked at", r.visited)
}

// A directory that was made without a trail has one from the day on that it is opened with one, and the other way round.
func TestTrailBeginsAndEndsWithTheOption(t *testing.T) {
	fs := vfs.NewMem()
	first, second, third := keyOf(0, 0, 1), keyOf(0, 0, 2), keyOf(0, 0, 3)
	for _, c := range []struct {
		level driver.AuditLevel
		begin driver.ID
		end   []driver.ID
	}{
		{driver.AuditOff, first, nil},
		{driver.AuditTransitions, second, []driver.ID{first}}, // within a second of its Acquire, of which there is no entry
		{driver.AuditOff, third, []driver.ID{second}},
	} {
		s := openTrail(t, "data", fs, c.level, 0)
		acquire(t, s, c.begin)
		for _, id := range c.end {
			check.NoError(t, complete(s, id), "Complete")
		}
		check.NoError(t, s.Close(), "closing")
	}
	s := openTrail(t, "data", fs, driver.AuditOff, 0)
	for id, want := range map[driver.ID][]driver.Step{
		first: {driver.StepCompleted}, second: {driver.StepAcquired}, third: nil,
	} {
		page, _, err := s.History(bg, driver.HistoryQuery{ID: &id})
		check.NoError(t, err, "History")
		var steps []driver.Step
		for _, e := range page {
			steps = append(steps, e.Step)
		}
		check.Equal(t, steps, want, "steps of id %s", id.Short())
	}
	all, _, err := s.History(bg, driver.HistoryQuery{})
	check.NoError(t, err, "History")
	check.Equal(t, len(all), 2, "all entries")
}

func TestWrongAuditLevel(t *testing.T) {
	_, err := open("data", &Options{Audit: 7}, vfs.NewMem())
	check.True(t, err != nil, "level 7 is taken")
}

func TestHistoryOfAClosedStore(t *testing.T) {
	s := openTrail(t, "data", vfs.NewMem(), driver.AuditAll, 0)
	check.NoError(t, s.Close(), "closing")
	_, _, err := s.History(bg, driver.HistoryQuery{})
	check.ErrorIs(t, err, driver.ErrUnavailable, "History")
	for _, cursor := range []string{"x", "00", "ffffffffffffffff"} {
		_, _, err = s.History(bg, driver.HistoryQuery{Cursor: cursor})
		check.True(t, err != nil && !errors.Is(err, driver.ErrUnavailable), "the cursor %s: %v", cursor, err)
	}
}

// Entries share no moment, whatever the clock tells.
func TestEntriesAtOneMomentAreInOrder(t *testing.T) {
	s := openTrail(t, "data", vfs.NewMem(), driver.AuditAll, 0)
	var last int64
	for range 1000 {
		at := s.trail.moment(42)
		check.True(t, at > last, "the moment after %d is %d", last, at)
		last = at
	}
	check.Equal(t, last, 1041, "the last moment")
}
