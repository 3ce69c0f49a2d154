package pgstore

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
	name      string
	statement string
	changes   []string // old, new, …
	rule      string
}

var mutants = []mutant{
	{"Upsert", "acquire", []string{
		"NOT EXISTS (SELECT FROM seen) AND ", "", "DO NOTHING", "DO UPDATE SET owner = $2, fence = records.fence + 1", "SELECT 1,", "SELECT 2,",
	}, "01"},
	{"UnownedComplete", "complete", []string{"AND owner = $2 ", "AND $2::bytea IS NOT NULL "}, "06"},
	{"UnownedExtend", "extend", []string{
		"AND owner = $2 AND phase", "AND $2::bytea IS NOT NULL AND phase", "AND owner = $2 AND expires_at", "AND expires_at",
	}, "06"},
	{"UnownedRelease", "release", []string{"AND owner = $2 ", "AND $2::bytea IS NOT NULL "}, "06"},
	{"CompleteOverwrites", "complete", []string{"AND phase = 1", "AND phase > 0"}, "07"},
	{"ExpiredIsMine", "complete", []string{" AND expires_at > clock_timestamp()", ""}, "06"},
	{"OneClock", "acquire", []string{"t.now + $10::bigint", "t.now + LEAST($8, $10)::bigint"}, "02"},
	{"FrozenClock", "takeover", []string{
		"AND (given_up OR lease_until <= clock_timestamp())", "", "attempt = attempt + 1", "attempt = attempt",
	}, "01"},
	{"RetentionOfTheDoubt", "complete", []string{"$6::bigint, 0), retain)", "$6::bigint, 0), doubt_retain)"}, "02"},
	{"BriefDoubt", "extend", []string{
		"expires_at = clock_timestamp() + doubt_retain * interval '1 microsecond'", "expires_at = r.expires_at",
	}, "02"},
	{"FenceReset", "anew", []string{"fence = fence + 1", "fence = 1"}, "03"},
	{"SameFence", "takeover", []string{"fence = fence + 1", "fence = fence"}, "03"},
	{"AnyFenceResolves", "resolve", []string{"AND fence = $2 ", "AND $2::bigint IS NOT NULL "}, "03"},
	{"ForceKeepsFence", "resolve", []string{"THEN 1 ELSE 0 END,\n", "THEN 0 ELSE 0 END,\n"}, "03"},
	{"ResolveOfTheLiving", "resolve", []string{"(given_up OR lease_until <= clock_timestamp())", "true"}, "03"},
	{"LateAcquire", "refuse", []string{"false, $2, 0", "false, substr($2::bytea, 1, 0), 0"}, "08"},
	{"BriefResidue", "refuse", []string{"interval '1 minute'", "interval '1 millisecond'"}, "08"},
	{"SweepsTheLiving", "sweep", []string{
		"due_at <= (SELECT clock_timestamp())", "true", "AND expires_at <= clock_timestamp()", "",
	}, "15"},
	{"ListsTheDead", "list", []string{"AND r.expires_at > t.now", ""}, "15"},
	{"GivenUpRuns", "extend", []string{
		"given_up = $3::bigint = 0", "given_up = false",
		"clock_timestamp() + $3::bigint", "clock_timestamp() + COALESCE(NULLIF($3::bigint, 0), lease)",
	}, "17"},
	{"UntoldTakeOver", "takeover", []string{"2 AS step", "0 AS step"}, "18"},
	{"ForceUntold", "resolve", []string{"THEN 8 ELSE 7", "THEN 7 ELSE 7"}, "18"},
	{"GivenUpTwice", "extend", []string{"was.given_up AND was.same_note", "false"}, "18"},
	{"UpsertOfMany", "acquire_many", []string{"DO NOTHING", "DO UPDATE SET owner = EXCLUDED.owner, fence = r.fence + 1"}, "01"},
	{"UnownedCompleteOfMany", "complete_many", []string{"AND r.owner = a.owner ", "AND a.owner IS NOT NULL "}, "06"},
	{"OverwriteByMany", "complete_many", []string{"AND r.phase = 1", "AND r.phase > 0"}, "07"},
	{"ExpiredIsOfMany", "complete_many", []string{" AND r.expires_at > clock_timestamp()", ""}, "06"},
	{"OneClockOfMany", "acquire_many", []string{"t.now + a.doubt_retain", "t.now + LEAST(a.lease, a.doubt_retain)"}, "02"},
	{"ConfusionOfMany", "acquire_many", []string{"a.owner, 1, 1,", "(SELECT owner FROM asked LIMIT 1), 1, 1,"}, "05"},
	{"UntoldByMany", "complete_many", []string{"5 AS step", "0 AS step"}, "18"},
	{"RetentionOfMany", "complete_many", []string{"a.retain, 0), r.retain)", "a.retain, 0), r.doubt_retain)"}, "02"},
	{"TrailForEver", "history", []string{"$2::bigint < 0 OR", "true OR"}, "19"},
}

func TestMutants(t *testing.T) {
	server := sync.OnceValue(func() string { return testsvc.Postgres(t, "max_connections = 500").URL })
	for _, m := range mutants {
		mutation.Caught(t, m.name, m.rule, server, unit, m.open)
	}
}

func (m mutant) open(t testing.TB, url string, level driver.AuditLevel, retain time.Duration) driver.Store {
	t.Helper()
	s := openAt(t, url, &Options{Audit: level, AuditRetention: retain})
	for i := 0; i < len(m.changes); i += 2 {
		check.True(t, strings.Contains(s.sql[m.statement], m.changes[i]), "%s has no %q any more", m.statement, m.changes[i])
		s.sql[m.statement] = strings.ReplaceAll(s.sql[m.statement], m.changes[i], m.changes[i+1])
	}
	if strings.HasSuffix(m.statement, "_many") {
		return &company{s}
	}
	return s
}
