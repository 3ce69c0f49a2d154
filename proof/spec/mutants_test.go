package spec

import (
	"math"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/proof/report"
)

// mutants are the flaws, each with the kind of history in which it shows best.
var mutants = []struct {
	flaw    flaw
	profile Profile
}{
	{NoFingerprint, General()},
	{EarlyExpiry, General()},
	{CheckThenAct, Storm()},
	{FenceReset, Departures()},
	{SelfConflict, Departures()},
	{UnownedExtend, General()},
	{UnownedComplete, General()},
	{UnownedRelease, Departures()},
	{LateAcquire, Departures()},
	{DoneIsMine, Replays()},
	{UnavailableButWrote, General()},
	{ReaperKillsLive, Returns()},
	{ResolveIgnoresFence, Doubts()},
	{TakeoverWhileLeased, TakeOvers()},
	{MaxAttemptsIgnored, TakeOvers()},
	{TakeoverUnderHold, General()},
	{ForceKeepsFence, Doubts()},
	{ResolvedIsMine, Returns()},
	{OverwritesOutcome, Replays()},
	{LazyGiveUp, Doubts()},
	{CompleteInTimeOnly, Returns()},
	{FalsyResult, Replays()},
	{RetainOfTheClaim, General()},
	{LoserRenewsLease, TakeOvers()},
	{UnsweptIsThere, General()},
}

// Each mutant is shown to the checker in histories of its profile. How rarely the weakest shows says how many are enough.
func TestMutants(t *testing.T) {
	seed, weakest, share := seedOf(t), none, 1.0
	for _, m := range mutants {
		c := tally{shown: true}
		s := series{profile: m.profile, patience: time.Second, histories: report.Size(80, 4000), seed: seed}
		s.inBubble(t, func() driver.Store { return newBroken(m.flaw) }, &c)
		shows := float64(c.bad) / float64(s.histories)
		report.Linef(t, "%-20s shows in %5.1f %% of %d histories (%s)", m.flaw, 100*shows, s.histories, m.profile.Name)
		check.True(t, c.bad > 0, "the checker does not see %s, seed %d", m.flaw, seed)
		if shows < share {
			weakest, share = m.flaw, shows
		}
	}
	report.Linef(t, "seed %d: the weakest is %s: so many histories of its profile miss it with a probability of %.0e",
		seed, weakest, math.Pow(1-share, float64(report.Size(80, 4000))))
}

// Without a flaw nothing shows, or the mutants would prove nothing.
func TestNoFlaw(t *testing.T) {
	seed := seedOf(t)
	for _, p := range Profiles() {
		var c tally
		s := series{profile: p, histories: report.Size(80, 4000), seed: seed}
		s.inBubble(t, func() driver.Store { return newBroken(none) }, &c)
		check.True(t, c.bad == 0, "%s, seed %d: %d illegal histories, kept in %v", p.Name, seed, c.bad, c.illegal)
	}
}

// What is allowed to stores on servers does not hide what is looked for in them.
func TestMutantsInRealTime(t *testing.T) {
	for _, f := range []flaw{EarlyExpiry, UnownedComplete, FenceReset, TakeoverUnderHold} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel() // most of it is waiting
			c := tally{shown: true}
			s := series{
				profile: realTime(20 * time.Millisecond), stores: []driver.Store{newBroken(f)}, rules: services[0].rules,
				patience: time.Second, histories: report.Size(60, 1000), atOnce: 60, seed: seedOf(t),
			}
			s.inRealTime(t, &c, nil)
			report.Linef(t, "%s shows in %.1f %% of %d histories", f, 100*float64(c.bad)/float64(s.histories), s.histories)
			check.True(t, c.bad > 0, "the checker does not see %s, seed %d", f, s.seed)
		})
	}
}
