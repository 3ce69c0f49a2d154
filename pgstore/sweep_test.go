package pgstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// What is due and lives is looked at again when it is over, and not before.
func TestSweepPutsOffTheLiving(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, nil)
	const due = "SELECT due_at <= clock_timestamp() FROM onceward.records WHERE id = $1"
	id, c := newID(), claim()
	c.Retain = time.Microsecond
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	check.True(t, ask[bool](t, s, due, id[:]), "it must be due when it could be over at the soonest")
	sweep := func(want int, when string) {
		t.Helper()
		n, err := s.Sweep(bg, 10)
		check.NoError(t, err, "Sweep")
		check.Equal(t, n, want, "removed %s", when)
	}
	sweep(0, "while it runs")
	check.Equal(t, ask[bool](t, s, due, id[:]), false, "whether it is still due")
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete")
	sweep(1, "when it is over")
}

// Otherwise each would touch every index.
func TestUsualStepsLeaveTheIndexAlone(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, nil)
	const due = "SELECT due_at FROM onceward.records WHERE id = $1"
	id, c := newID(), claim()
	_, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	before := ask[time.Time](t, s, due, id[:])
	check.NoError(t, s.Extend(bg, id, c.Owner, driver.Extension{Lease: time.Minute}), "Extend")
	check.NoError(t, s.Complete(bg, id, c.Owner, sampled), "Complete")
	check.Equal(t, ask[time.Time](t, s, due, id[:]), before, "when it is due")
	late := ask[int](t, s, "SELECT count(*) FROM onceward.records WHERE due_at > expires_at")
	check.Equal(t, late, 0, "records that are over before they are due")
}

// A plan that was made when the table was small is kept while it grows.
func TestPlansOfASmallTable(t *testing.T) {
	s := openAt(t, testsvc.SharedPostgres(t).Database().URL, nil)
	conn, err := pgx.Connect(bg, s.pool.Config().ConnString())
	check.NoError(t, err, "connecting")
	defer conn.Close(bg)
	_, err = conn.Exec(bg, "SET plan_cache_mode = force_generic_plan")
	check.NoError(t, err, "asking for the plan that is kept")
	for name, args := range map[string]int{"get": 1, "get_many": 1, "wait": 1, "complete": 10, "complete_many": 10} {
		_, err := conn.Exec(bg, "PREPARE "+name+" AS "+s.sql[name])
		check.NoError(t, err, "preparing %s", name)
		explain := fmt.Sprintf("EXPLAIN EXECUTE %s(%s)", name, "NULL"+strings.Repeat(", NULL", args-1))
		rows, err := conn.Query(bg, explain)
		check.NoError(t, err, "asking for the plan of %s", name)
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		check.NoError(t, err, "the plan of %s", name)
		plan := strings.Join(lines, "\n")
		check.True(t, !strings.Contains(plan, "Seq Scan on records"), "%s reads the whole table:\n%s", name, plan)
	}
}
