package redisstore

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/storetest"
)

// Mutants are scripts that are wrong in one place, and the rule of the suite that finds it.
var mutants = []struct {
	name     string
	old, new string
	rule     string
}{
	{"UnownedComplete", "if r.owner ~= done.owner then\n  return LOST\nend\n", "", "06"},
	{"BlindComplete", "== ARGV[1] then\n  redis.call('SET'", "~= '' then\n  redis.call('SET'", "06"},
	{"UnownedExtend", "or r.owner ~= ARGV[1] then", "then", "06"},
	{"UnownedRelease", "elseif is_running(r) and r.owner == ARGV[1] then", "elseif is_running(r) then", "06"},
	{"CompleteOverwrites", "if not is_running(r) then\n  local same", "if not r then\n  local same", "07"},
	{"CompleteNotRepeatable", "return same and OK or LOST", "return LOST", "07"},
	{"OneClock", "'PX', r.life)\n  return value", "'PX', math.min(r.life, r.lease + 1))\n  return value", "02"},
	{"LeaseForEver", "or r.age > r.lease", "", "02"},
	{"AgeOfTheLease", "r.elapsed, r.notes = r.elapsed + r.age, ARGV[3]", "r.notes = ARGV[3]", "02"},
	{"RetentionOfTheDoubt", "ARGV[2], 'PX', ARGV[3])", "ARGV[2], 'KEEPTTL')", "02"},
	{"FenceReset", "  claim.fence = r.fence + 1\n", "", "03"},
	{"SameFence", "claim.owner, r.fence + 1, r.attempt + 1, 0", "claim.owner, r.fence, r.attempt + 1, 0", "03"},
	{"AnyFenceResolves", "or r.fence ~= tonumber(ARGV[1]) then", "then", "03"},
	{"ForceKeepsFence", "  r.fence = r.fence + 1\nend\nlocal kind", "end\nlocal kind", "03"},
	{"MismatchAfterAll", "matches = false", "matches = is_running(r)", "04"},
	{"DoneIsMine", "if not is_running(r) then\n  return {DONE", "if not is_running(r) and r.owner ~= claim.owner then\n  return {DONE", "05"},
	{"SelfConflict", "if r.owner == claim.owner then\n  r.elapsed", "if false then\n  r.elapsed", "05"},
	{"LateAcquire", "  if r.owner == claim.owner then\n    return TOO_LATE\n  end\n", "", "08"},
	{"BriefResidue", "local MIN_RESIDUE = 60000", "local MIN_RESIDUE = 1", "08"},
	{"UntoldTakeOver", "  tell(STEP_TAKEN_OVER, r)\n", "", "18"},
	{"UntoldOutcome", "tell(STEP_COMPLETED, r, done.kind)", "tell(STEP_COMPLETED, r)", "18"},
	{"GivenUpTwice", "if r.state ~= GIVEN_UP or r.notes ~= ARGV[3] then", "if true then", "18"},
	{"ForceUntold", "force and STEP_FORCED or STEP_RESOLVED", "STEP_RESOLVED", "18"},
	{"BriefTrail", "'PEXPIRE', KEYS[2], retain)", "'PEXPIRE', KEYS[2], math.floor(retain / 5))", "19"},
	{"GivenUpRuns", "r.state == GIVEN_UP or r.age", "r.age", "17"},
}

const asMutant = "REDISSTORE_TEST_MUTANT"

// The test binary is also the process in which a mutant fails.
func TestMutants(t *testing.T) {
	if name := os.Getenv(asMutant); name != "" {
		conformanceOfMutant(t, name)
		return
	}
	server := testsvc.Redis(t)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			child := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestMutants$/^"+m.rule)
			child.Env = append(os.Environ(), asMutant+"="+m.name, "TEST_REDIS_URL="+server.URL)
			out, err := child.CombinedOutput()
			check.True(t, err != nil, "nobody has noticed:\n%s", out)
			promise := "broken promise: rule " + strings.TrimPrefix(m.rule, "0") + ","
			check.True(t, strings.Contains(string(out), promise), "it failed otherwise:\n%s", out)
		})
	}
}

func conformanceOfMutant(t *testing.T, name string) {
	t.Helper()
	server := testsvc.SharedRedis(t)
	open := func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
		s := openAt(t, server.URL, &Options{Namespace: testsvc.Name(), Audit: level, AuditRetention: retain})
		s.direct = nil
		found := false
		for _, m := range mutants {
			if m.name == name {
				found = s.scripts.change(m.old, m.new)
			}
		}
		check.True(t, found, "%s is no mutant, or the scripts have changed", name)
		return s
	}
	storetest.Run(t, func(t testing.TB) driver.Store { return open(t, driver.AuditOff, 0) },
		&storetest.Options{RealTime: true, Unit: unit, Trail: open})
}

func (s *scripts) change(from, to string) (found bool) {
	for _, one := range []*script{s.acquire, s.acquireFull, s.extend, s.complete, s.release, s.resolve, s.await, s.get, s.list, s.history} {
		found = found || strings.Contains(one.text, from)
		one.text = strings.Replace(one.text, from, to, 1)
		sum := sha1.Sum([]byte(one.text))
		one.sha = hex.EncodeToString(sum[:])
	}
	return found
}
