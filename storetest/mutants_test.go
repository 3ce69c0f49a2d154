package storetest

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
)

// flaw is one way to break the contract.
type flaw string

const (
	sound                   flaw = ""
	CheckThenAct            flaw = "CheckThenAct"            // somebody comes in between the look and the write
	TakeOverUnderHold       flaw = "TakeOverUnderHold"       // runs again what may have happened
	TakeOverBeyondAttempts  flaw = "TakeOverBeyondAttempts"  // does not count
	PolicyOfTheLast         flaw = "PolicyOfTheLast"         // a take-over brings its own policy
	EarlyExpiry             flaw = "EarlyExpiry"             // leases end a tenth early
	OneClock                flaw = "OneClock"                // the lease is the life of the record
	RetainOfTheClaim        flaw = "RetainOfTheClaim"        // the outcome's own retention is ignored
	DoubtFromAcquire        flaw = "DoubtFromAcquire"        // a sign of life does not keep the record
	Int32Millis             flaw = "Int32Millis"             // durations wrap at 24.8 days
	UInt32Millis            flaw = "UInt32Millis"            // or at 49.7
	FenceReset              flaw = "FenceReset"              // a release forgets the fence
	FenceNotRaisedByForce   flaw = "FenceNotRaisedByForce"   // a forced Resolve looks like the attempt before it
	ResolvesAnyFence        flaw = "ResolvesAnyFence"        // ends attempts that the operator never saw
	NoFingerprint           flaw = "NoFingerprint"           // one request gets the answer of another
	FingerprintOnlyWhenDone flaw = "FingerprintOnlyWhenDone" // not compared while running
	FirstFingerprintOnly    flaw = "FirstFingerprintOnly"    // Claim.Also is ignored
	LoserRenewsLease        flaw = "LoserRenewsLease"        // retries keep a dead attempt alive
	SelfConflict            flaw = "SelfConflict"            // the owner is told that somebody holds its key
	DoneIsMine              flaw = "DoneIsMine"              // the done owner runs again
	ResolvedOwnerReturns    flaw = "ResolvedOwnerReturns"    // an owner who was resolved away acquires again
	UnownedExtend           flaw = "UnownedExtend"           // anybody extends
	UnownedComplete         flaw = "UnownedComplete"         // anybody completes
	UnownedRelease          flaw = "UnownedRelease"          // anybody releases
	CompleteInTimeOnly      flaw = "CompleteInTimeOnly"      // the late owner loses what it did
	OverwritesOutcome       flaw = "OverwritesOutcome"       // two answers to one payment
	CompleteOnce            flaw = "CompleteOnce"            // a repeated Complete is lost
	ResolvedIsMine          flaw = "ResolvedIsMine"          // the operator's outcome passes for the owner's
	LateAcquire             flaw = "LateAcquire"             // a release leaves no owner behind
	BriefResidue            flaw = "BriefResidue"            // or not for long enough
	FalsyResult             flaw = "FalsyResult"             // an empty outcome counts as none
	TextBytes               flaw = "TextBytes"               // trailing blanks and NULs are trimmed
	Truncates1M             flaw = "Truncates1M"             // a column of 1 MiB, cut in silence
	FoldsCase               flaw = "FoldsCase"               // fingerprints are compared as text
	SharesSlicesIn          flaw = "SharesSlicesIn"          // keeps the caller's slice
	KeepsSliceAfterCancel   flaw = "KeepsSliceAfterCancel"   // only if the caller was interrupted
	SharesSlicesOut         flaw = "SharesSlicesOut"         // hands out its own
	IgnoresContext          flaw = "IgnoresContext"          // waits on for an hour
	HalfStep                flaw = "HalfStep"                // done without an outcome
	UnavailableAfterWrite   flaw = "UnavailableAfterWrite"   // "refused", and written
	ExtendLooksFirst        flaw = "ExtendLooksFirst"        // takes back the outcome that came in between
	ReleaseLooksFirst       flaw = "ReleaseLooksFirst"       // erases the attempt that took over in between
	ResolveLooksFirst       flaw = "ResolveLooksFirst"       // overwrites the late outcome that came in between
	LeaksGoroutine          flaw = "LeaksGoroutine"          // one for each Release
	EvictsLive              flaw = "EvictsLive"              // makes room at any price
	CompleteRefusedWhenFull flaw = "CompleteRefusedWhenFull" // keeps the key and loses the outcome
	ReaperKillsLive         flaw = "ReaperKillsLive"         // sweeps what is in doubt
	SweepsUnchecked         flaw = "SweepsUnchecked"         // deletes what was expired when it looked
	SweepsForeign           flaw = "SweepsForeign"           // sweeps the whole database
	ListsExpired            flaw = "ListsExpired"            // shows what is absent
	ReadUnsynced            flaw = "ReadUnsynced"            // tells what a power cut may still undo
	AnswersUnsynced         flaw = "AnswersUnsynced"         // so does the writer itself
	LazyGiveUp              flaw = "LazyGiveUp"              // waits for a lease that was given up
	GivenUpForGood          flaw = "GivenUpForGood"          // the owner cannot come back
	TrailForgetsRelease     flaw = "TrailForgetsRelease"     // nobody learns who freed the key
	TrailForgetsReturn      flaw = "TrailForgetsReturn"      // an owner who gave up and came back
	TrailHidesForce         flaw = "TrailHidesForce"         // an operator's force passes for a doubt that was resolved
	TrailTellsOfLosers      flaw = "TrailTellsOfLosers"      // each retry is an entry
	TrailTellsOfNothing     flaw = "TrailTellsOfNothing"     // so is a Release of nothing
	TrailTellsOfSigns       flaw = "TrailTellsOfSigns"       // so is a sign of life, asked for or not
	TrailDoublesOnRepeat    flaw = "TrailDoublesOnRepeat"    // a repeated Complete is a second one
	TrailHasAnotherNote     flaw = "TrailHasAnotherNote"     // the one that the record had before
	TrailCutsNotes          flaw = "TrailCutsNotes"          // as a text that ends with a NUL
	TrailIsBackwards        flaw = "TrailIsBackwards"        // newest first
	TrailPagesOverlap       flaw = "TrailPagesOverlap"       // the last of a page is the first of the next
	TrailGoesWithItsKey     flaw = "TrailGoesWithItsKey"     // freeing the key erases what led to it
	TrailIsForEver          flaw = "TrailIsForEver"          // its retention is ignored
	TrailIsLate             flaw = "TrailIsLate"             // written after the transition, by itself
)

// mutants are the flaws and the rule that each must break, whatever else it breaks.
var mutants = []struct {
	flaw flaw
	rule int
}{
	{CheckThenAct, 1}, {TakeOverUnderHold, 1}, {TakeOverBeyondAttempts, 1}, {PolicyOfTheLast, 1},
	{EarlyExpiry, 2}, {OneClock, 2}, {RetainOfTheClaim, 2}, {DoubtFromAcquire, 2}, {Int32Millis, 2}, {UInt32Millis, 2},
	{FenceReset, 3}, {FenceNotRaisedByForce, 3}, {ResolvesAnyFence, 3},
	{NoFingerprint, 4}, {FingerprintOnlyWhenDone, 4}, {FirstFingerprintOnly, 4}, {LoserRenewsLease, 4},
	{SelfConflict, 5}, {DoneIsMine, 5}, {ResolvedOwnerReturns, 5},
	{UnownedExtend, 6}, {UnownedComplete, 6}, {UnownedRelease, 6}, {CompleteInTimeOnly, 6},
	{OverwritesOutcome, 7}, {CompleteOnce, 7}, {ResolvedIsMine, 7},
	{LateAcquire, 8}, {BriefResidue, 8},
	{FalsyResult, 9}, {TextBytes, 9}, {FoldsCase, 9}, {Truncates1M, 9},
	{SharesSlicesIn, 10}, {SharesSlicesOut, 10}, {KeepsSliceAfterCancel, 10},
	{IgnoresContext, 11}, {HalfStep, 11},
	{UnavailableAfterWrite, 12},
	{LeaksGoroutine, 13}, {ExtendLooksFirst, 13}, {ReleaseLooksFirst, 13}, {ResolveLooksFirst, 13},
	{EvictsLive, 14}, {CompleteRefusedWhenFull, 14},
	{ReaperKillsLive, 15}, {SweepsUnchecked, 15}, {SweepsForeign, 15}, {ListsExpired, 15},
	{ReadUnsynced, 16}, {AnswersUnsynced, 16},
	{LazyGiveUp, 17}, {GivenUpForGood, 17},
	{TrailForgetsRelease, 18}, {TrailForgetsReturn, 18}, {TrailHidesForce, 18}, {TrailTellsOfLosers, 18}, {TrailTellsOfNothing, 18},
	{TrailTellsOfSigns, 18}, {TrailDoublesOnRepeat, 18}, {TrailHasAnotherNote, 18}, {TrailCutsNotes, 18}, {TrailIsBackwards, 18},
	{TrailPagesOverlap, 18},
	{TrailGoesWithItsKey, 19}, {TrailIsForEver, 19}, {TrailIsLate, 19},
}

// options has every hook. Quit ends the goroutines that a leaking store leaves behind.
func (f flaw) options(quit chan struct{}) *Options {
	return &Options{
		Runs: 4,
		Seed: 1,
		Full: func(_ testing.TB, records int) driver.Store {
			s := f.open(quit)
			s.room, s.journal = records, nil
			return s
		},
		Crash: func(_ testing.TB, s driver.Store) driver.Store {
			return s.(*reference).crash()
		},
		Trail: func(_ testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
			s := f.open(quit)
			s.journal = newJournal()
			s.level, s.auditRetain = level, retain
			return s
		},
		Foreign: func(_ testing.TB, s driver.Store) func() error {
			return func() error {
				if len(s.(*reference).foreign) == 0 {
					return errors.New("somebody else's data is gone")
				}
				return nil
			}
		},
	}
}

func (f flaw) open(quit chan struct{}) *reference {
	s := newReference(f)
	s.quit = quit
	return s
}

// recorder collects what a rule finds instead of failing the test.
type recorder struct {
	testing.TB
	found []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.found = append(r.found, fmt.Sprintf(format, args...))
}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) FailNow()            { runtime.Goexit() }

// broken runs one rule and returns what it found.
func broken(
	t *testing.T, r rule, open func(quit chan struct{}) driver.Store, options func(quit chan struct{}) *Options,
) []string {
	var rec recorder
	inTime(t, new(Options), func(t *testing.T) {
		quit := make(chan struct{})
		t.Cleanup(func() { close(quit) })
		rec.TB = t
		opts := options(quit).withDefaults()
		ended := make(chan struct{})
		go func() { // FailNow ends the goroutine that calls it
			defer close(ended)
			try(t, &rec, r, func(testing.TB) driver.Store { return open(quit) }, &opts)
		}()
		<-ended
	}, func(reason string) { rec.found = append(rec.found, reason) })
	return rec.found
}

// brokenRules runs the whole suite and returns what each rule found.
func brokenRules(
	t *testing.T, open func(r rule, quit chan struct{}) driver.Store, options func(quit chan struct{}) *Options,
) map[int][]string {
	all := make(map[int][]string)
	for _, r := range append(slices.Clone(rules), model) {
		if found := broken(t, r, func(quit chan struct{}) driver.Store { return open(r, quit) }, options); len(found) > 0 {
			all[r.number] = found
		}
	}
	return all
}

// breaks returns what the rule finds in a store with the flaw.
func (f flaw) breaks(t *testing.T, r rule) []string {
	return broken(t, r, func(quit chan struct{}) driver.Store {
		s := f.open(quit)
		if r.number == 16 {
			s.journal = newJournal()
		}
		return s
	}, f.options)
}

// Each mutant is shown to the one rule that must see it, so that none is killed by accident.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(string(m.flaw), func(t *testing.T) {
			named := slices.IndexFunc(rules, func(r rule) bool { return r.number == m.rule })
			found := m.flaw.breaks(t, rules[named])
			if len(found) == 0 {
				t.Fatalf("rule %d does not see the flaw %s", m.rule, m.flaw)
			}
			t.Log(found[0])
		})
	}
}

func TestEveryRuleHasAMutant(t *testing.T) {
	for _, r := range rules {
		if !slices.ContainsFunc(mutants, func(m struct {
			flaw flaw
			rule int
		}) bool {
			return m.rule == r.number
		}) {
			t.Errorf("no mutant breaks rule %d", r.number)
		}
	}
}

func TestReference(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		o := sound.options(nil)
		o.Runs, o.Seed, o.Crash = 0, 0, nil
		Run(t, func(testing.TB) driver.Store { return newReference(sound) }, o)
	})
	t.Run("journaled", func(t *testing.T) {
		Run(t, func(testing.TB) driver.Store { return newJournaled(sound) }, &Options{Crash: sound.options(nil).Crash, Runs: 1})
	})
}

func TestStuckStoreFailsItsRule(t *testing.T) {
	hangs := rule{name: "a call that never returns", check: func(*trial) { select {} }}
	found := broken(t, hangs, func(chan struct{}) driver.Store { return newReference(sound) }, sound.options)
	if len(found) != 1 {
		t.Fatalf("a rule that hangs found %q, want the reason why it was ended", found)
	}
}
