package record

import (
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
)

var id = driver.ID{0x1d, 0x5a, 0x02, 0xff, 0x10}

// shapes are all there are, one golden file each.
var shapes = []struct {
	name  string
	value Stored
}{
	{"running-hold", runningHold()},
	{"running-rerun-given-up", givenUpRerun()},
	{"done-answer", doneAnswer()},
	{"done-tombstone", doneTombstone()},
	{"residue", residue()},
}

// runningHold is what a sidecar on a disk stores.
func runningHold() Stored {
	return Stored{
		IDTag:       [4]byte(id[:]),
		Phase:       driver.PhaseRunning,
		OnCrash:     driver.Hold,
		Owner:       driver.Owner{0xa1, 0, 0xa3, 15: 0xaf},
		Fence:       1,
		Attempt:     1,
		MaxAttempts: 1,
		Labels: driver.Labels{
			KeyTag: [8]byte{0x4b, 7: 0x4c}, ScopeTag: [8]byte{0x5c, 7: 0x5d}, KeyHint: "ord_…",
			Operation: "POST /api/payments", Route: "POST /api/payments", Host: "api.example.com",
		},
		Fingerprint:  driver.Fingerprint{Algorithm: "json-sha256/1", Sum: strings.Repeat("\xf0\x00\x9f\xff", 8)},
		Note:         driver.Note{Node: "payments-7f9c4"},
		MaxExecution: 10 * time.Minute,
		Lease:        30 * time.Second,
		Retain:       24 * time.Hour,
		DoubtRetain:  30 * 24 * time.Hour,
		Since:        1_767_225_600_000,
		LeaseEnd:     1_767_225_630_000,
		Gone:         1_769_817_600_000,
	}
}

func givenUpRerun() Stored {
	s := runningHold()
	s.OnCrash, s.GivenUp = driver.Rerun, true
	s.Fence, s.Attempt, s.MaxAttempts = 300, 3, 5
	s.Lease = 1500 * time.Millisecond
	s.Note = driver.Note{Actor: "engine", Reason: "the handler could not say", TraceID: "4bf92f3577b34da6", Node: "payments-b"}
	return s
}

func doneAnswer() Stored {
	s := runningHold()
	s.Phase, s.Kind = driver.PhaseDone, driver.Answer
	s.Outcome = []byte(strings.Repeat("\x00a\xff\n", 50))
	s.Gone = s.Since + s.Retain.Milliseconds()
	return s
}

// doneTombstone was written by an operator, who said why.
func doneTombstone() Stored {
	s := doneAnswer()
	s.Kind, s.Resolved = driver.Tombstone, true
	s.Outcome = []byte("status 201")
	s.Note = driver.Note{Actor: "ops@example.com", Reason: "seen at the bank", Node: "cli"}
	s.OutcomeNote = &driver.Note{Reason: "too large"}
	return s
}

func residue() Stored {
	whole := runningHold()
	return Stored{
		IDTag: whole.IDTag, Owner: whole.Owner, Fence: 7, Since: whole.Since, Gone: whole.Since + driver.MinResidue.Milliseconds(),
	}
}
