package redisstore

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/mutation"
	"github.com/onceward/onceward/internal/testsvc"
)

// A mutant is the store with a script that is wrong in one place, and the rule of the suite that finds it.
type mutant struct {
	name     string
	old, new string
	rule     string
}

var mutants = []mutant{
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

func TestMutants(t *testing.T) {
	server := sync.OnceValue(func() string { return testsvc.Redis(t).URL })
	for _, m := range mutants {
		mutation.Caught(t, m.name, m.rule, server, unit, m.open)
	}
}

func (m mutant) open(t testing.TB, url string, level driver.AuditLevel, retain time.Duration) driver.Store {
	t.Helper()
	s := openAt(t, url, &Options{Namespace: testsvc.Name(), Audit: level, AuditRetention: retain})
	s.direct = nil
	check.True(t, s.scripts.change(m.old, m.new), "no script has %q any more", m.old)
	return s
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
