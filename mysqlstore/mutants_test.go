package mysqlstore

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/mutation"
	"github.com/onceward/onceward/internal/testsvc"
)

// A mutant is the store with a statement that is wrong in one place, and the rule of the suite that finds it.
type mutant struct {
	name, statement string
	changes         []string // from, to, and so on
	rule            string
}

var mutants = []mutant{
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
	{"SweepsTheLiving", "idle", []string{"expires_at <= UTC_TIMESTAMP(6) AND", "SLEEP(0.01) = 0 AND"}, "15"},
	{"ListsTheDead", "list", []string{"AND expires_at > UTC_TIMESTAMP(6)", ""}, "15"},
	{"GivenUpRuns", "extend", []string{"given_up = ?", "given_up = ? AND 0", "+ INTERVAL ?", "+ INTERVAL ? + lease"}, "17"},
	{"AnotherNote", "tell", []string{"actor, reason", "reason, actor"}, "18"},
	{"TrailOfTheLiving", "history", []string{"WHERE", "WHERE id IN (SELECT id FROM onceward_records WHERE phase > 0) AND"}, "19"},
}

func TestMutants(t *testing.T) {
	server := sync.OnceValue(func() string { return testsvc.MariaDB(t, "max_connections = 1000", unsynced).URL })
	for _, m := range mutants {
		mutation.Caught(t, m.name, m.rule, server, unit, m.open)
	}
}

func (m mutant) open(t testing.TB, url string, level driver.AuditLevel, retain time.Duration) driver.Store {
	t.Helper()
	s := openAt(t, url, &Options{Audit: level, AuditRetention: retain})
	for i := 0; i < len(m.changes); i += 2 {
		check.True(t, strings.Contains(s.text[m.statement], m.changes[i]), "%s has no %q any more", m.statement, m.changes[i])
		s.text[m.statement] = strings.ReplaceAll(s.text[m.statement], m.changes[i], s.named(m.changes[i+1]))
	}
	check.NoError(t, s.prepare(bg), "preparing")
	return s
}
