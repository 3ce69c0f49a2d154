package mysqlstore

import (
	"context"
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

// Mutants are statements that are wrong in one place, and the rule of the suite that finds it.
var mutants = []struct {
	name, statement string
	changes         []string // from, to, and so on
	rule            string
}{
	{"NothingHeld", "lock", []string{"FOR UPDATE", ""}, "01"},
	{"UnownedComplete", "complete", []string{"AND owner = ? ", "AND ? IS NOT NULL "}, "06"},
	{"UnownedExtend", "extend", []string{"AND owner = ? ", "AND ? IS NOT NULL "}, "06"},
	{"UnownedRelease", "release", []string{"AND owner = ? ", "AND ? IS NOT NULL "}, "06"},
	{"CompleteOverwrites", "complete", []string{"AND phase = 1", "AND phase > 0"}, "07"},
	{"ExpiredIsMine", "complete", []string{" AND expires_at > UTC_TIMESTAMP(6)", ""}, "06"},
	{"OneClock", "insert", []string{
		"expires_at = UTC_TIMESTAMP(6) + INTERVAL ? MICROSECOND", "expires_at = IF(? > 0, lease_until, lease_until)",
	}, "02"},
	{"LocalTime", "complete", []string{
		"expires_at = UTC_TIMESTAMP(6)", "expires_at = CONVERT_TZ(UTC_TIMESTAMP(6), '+00:00', '+01:00')",
	}, "02"},
	{"RetentionOfTheDoubt", "complete", []string{"IFNULL(?, retain)", "IFNULL(?, doubt_retain)"}, "02"},
	{"BriefDoubt", "extend", []string{"expires_at = UTC_TIMESTAMP(6) + INTERVAL doubt_retain MICROSECOND", "expires_at = expires_at"}, "02"},
	{"FenceReset", "update", []string{"fence = ?", "fence = LEAST(?, 1)"}, "03"},
	{"LateAcquire", "release", []string{"phase = 0", "phase = 0, owner = REVERSE(owner)"}, "08"},
	{"BriefResidue", "release", []string{"GREATEST(60000000, 2 * lease)", "1000"}, "08"},
	{"CutOff", "complete", []string{"outcome = ?", "outcome = LEFT(?, 65535)"}, "09"},
	{"SweepsTheLiving", "sweep", []string{"expires_at <= UTC_TIMESTAMP(6) AND", "SLEEP(0.01) = 0 AND"}, "15"},
	{"ListsTheDead", "list", []string{"AND expires_at > UTC_TIMESTAMP(6)", ""}, "15"},
	{"GivenUpRuns", "extend", []string{"given_up = ?", "given_up = ? AND 0", "+ INTERVAL ?", "+ INTERVAL ? + lease"}, "17"},
	{"AnotherNote", "tell", []string{"actor, reason", "reason, actor"}, "18"},
	{"TrailOfTheLiving", "history", []string{"WHERE", "WHERE id IN (SELECT id FROM onceward_records WHERE phase > 0) AND"}, "19"},
}

const asMutant = "MYSQLSTORE_TEST_MUTANT"

// The test binary is also the process in which a mutant fails.
func TestMutants(t *testing.T) {
	if name := os.Getenv(asMutant); name != "" {
		conformanceOfMutant(t, name)
		return
	}
	server := testsvc.MariaDB(t, "max_connections = 1000", unsynced)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			child := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestMutants$/^"+m.rule)
			child.Env = append(os.Environ(), asMutant+"="+m.name, "TEST_MYSQL_URL="+server.URL)
			out, err := child.CombinedOutput()
			check.True(t, err != nil, "nobody has noticed:\n%s", out)
			promise := "broken promise: rule " + strings.TrimPrefix(m.rule, "0") + ","
			check.True(t, strings.Contains(string(out), promise), "it failed otherwise:\n%s", out)
		})
	}
}

func conformanceOfMutant(t *testing.T, name string) {
	t.Helper()
	server := testsvc.SharedMariaDB(t)
	open := func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
		s := openAt(t, server.URL, &Options{Audit: level, AuditRetention: retain})
		for _, m := range mutants {
			if m.name == name {
				s.change(t, m.statement, m.changes)
			}
		}
		check.NoError(t, s.prepare(bg), "preparing")
		return s
	}
	storetest.Run(t, func(t testing.TB) driver.Store { return open(t, driver.AuditOff, 0) },
		&storetest.Options{RealTime: true, Unit: unit, Trail: open})
}

func (s *Store) change(t testing.TB, name string, changes []string) {
	t.Helper()
	for i := 0; i < len(changes); i += 2 {
		check.True(t, strings.Contains(s.text[name], changes[i]), "%s has no %q any more", name, changes[i])
		s.text[name] = strings.ReplaceAll(s.text[name], changes[i], s.named(changes[i+1]))
	}
}
