package spec

import (
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// line is a call and its answer. At is when it was sent; the answer is heard two seconds later, in which others may be made.
type line struct {
	at time.Duration
	op Op
	a  Answer
}

const heardAfter = 2 * time.Second

func judge(lines []line) porcupine.CheckResult {
	var history []porcupine.Operation
	for i, l := range lines {
		op, a := l.op, l.a
		op.Sent, op.Heard = l.at, l.at+heardAfter
		o := porcupine.Operation{ClientId: i, Input: &op, Output: &a, Call: int64(op.Sent), Return: int64(op.Heard)}
		if a.Said == Unknown {
			op.Heard, o.Return = never, int64(never)
		}
		history = append(history, o)
	}
	return Rules{}.Check(history, time.Minute)
}

// The moments are seconds; leases take a minute and everything else an hour.
func TestRules(t *testing.T) {
	const second, minute = time.Second, time.Minute
	claim := func(owner int, c driver.OnCrash) Op {
		return Op{Verb: Acquire, Owner: owner, Request: 1, OnCrash: c, MaxAttempts: 2, Lease: minute, Retain: time.Hour, DoubtRetain: time.Hour}
	}
	granted := func(c driver.OnCrash, fence uint64, attempt int) Answer {
		return Answer{Verdict: driver.Acquired, Record: Seen{
			Phase: driver.PhaseRunning, Request: 1, OnCrash: c, Fence: fence, Attempt: attempt, Max: 2, Lease: minute, Left: time.Hour,
		}}
	}
	held := func(v driver.Verdict, c driver.OnCrash, age time.Duration) Answer {
		a := granted(c, 1, 1)
		a.Verdict, a.Record.Lease, a.Record.Age, a.Record.Left = v, minute-age, age, time.Hour-age
		return a
	}
	ok, lost, unknown := Answer{}, Answer{Said: Lost}, Answer{Said: Unknown}
	first := line{0, claim(1, driver.Hold), granted(driver.Hold, 1, 1)}
	again := line{0, claim(1, driver.Rerun), granted(driver.Rerun, 1, 1)}
	for _, c := range []struct {
		what  string
		lines []line
		legal bool
	}{
		{"busy while the lease runs", []line{first, {30 * second, claim(2, driver.Hold), held(driver.Running, driver.Hold, 31*second)}}, true},
		{"in doubt while it runs", []line{first, {30 * second, claim(2, driver.Hold), held(driver.InDoubt, driver.Hold, 31*second)}}, false},
		{"in doubt when it may be over", []line{first, {59 * second, claim(2, driver.Hold), held(driver.InDoubt, driver.Hold, 60*second)}}, true},
		{"busy when it may run", []line{first, {61 * second, claim(2, driver.Hold), held(driver.Running, driver.Hold, 59*second)}}, true},
		{"busy when it is over", []line{first, {63 * second, claim(2, driver.Hold), held(driver.Running, driver.Hold, 59*second)}}, false},
		{"taken over under hold", []line{first, {90 * second, claim(2, driver.Hold), granted(driver.Hold, 2, 2)}}, false},
		{"taken over under rerun", []line{again, {90 * second, claim(2, driver.Rerun), granted(driver.Rerun, 2, 2)}}, true},
		{"with the same fence", []line{again, {90 * second, claim(2, driver.Rerun), granted(driver.Rerun, 1, 2)}}, false},
		{"before the lease is over", []line{again, {30 * second, claim(2, driver.Rerun), granted(driver.Rerun, 2, 2)}}, false},
		{"over, and then running", []line{
			first, {59 * second, claim(2, driver.Hold), held(driver.InDoubt, driver.Hold, 60*second)},
			{61*second + 500*time.Millisecond, claim(3, driver.Hold), held(driver.Running, driver.Hold, 59*second)},
		}, false},
		{"a late end", []line{first, {90 * second, Op{Verb: Complete, Owner: 1, Outcome: 5}, ok}}, true},
		{"an end by another", []line{first, {90 * second, Op{Verb: Complete, Owner: 2, Outcome: 5}, ok}}, false},
		{"an end that nobody was told of", []line{
			first, {10 * second, Op{Verb: Complete, Owner: 1, Outcome: 5}, unknown}, {20 * second, Op{Verb: Release, Owner: 1}, lost},
		}, true},
		{"an end that was refused, and made", []line{
			first, {10 * second, Op{Verb: Complete, Owner: 1, Outcome: 5}, Answer{Said: Unavailable}},
			{20 * second, Op{Verb: Release, Owner: 1}, lost},
		}, false},
		{"an Acquire after its Release", []line{
			{0, Op{Verb: Release, Owner: 1}, ok}, {10 * second, claim(1, driver.Hold), Answer{Verdict: driver.Lost}},
		}, true},
		{"and granted", []line{{0, Op{Verb: Release, Owner: 1}, ok}, {10 * second, claim(1, driver.Hold), granted(driver.Hold, 1, 1)}}, false},
		{"when the residue may be over", []line{
			{0, Op{Verb: Release, Owner: 1}, ok}, {59 * second, claim(1, driver.Hold), granted(driver.Hold, 1, 1)},
		}, true},
		{"resolved away, and taken again with a higher fence", []line{
			first, {90 * second, Op{Verb: Resolve, Fence: 1}, ok}, {95 * second, claim(2, driver.Hold), granted(driver.Hold, 2, 1)},
		}, true},
		{"resolved while it runs", []line{first, {30 * second, Op{Verb: Resolve, Fence: 1}, ok}}, false},
		{"by force", []line{first, {30 * second, Op{Verb: Resolve, Fence: 1, Force: true}, ok}}, true},
		{"with a fence that is not the record's", []line{first, {30 * second, Op{Verb: Resolve, Fence: 2, Force: true}, ok}}, false},
		{"given up", []line{
			first, {10 * second, Op{Verb: Extend, Owner: 1}, ok}, {13 * second, Op{Verb: Resolve, Fence: 1, Outcome: 5}, ok},
			{20 * second, Op{Verb: Complete, Owner: 1, Outcome: 5}, lost},
		}, true},
	} {
		want := porcupine.Illegal
		if c.legal {
			want = porcupine.Ok
		}
		check.Equal(t, judge(c.lines), want, "%s", c.what)
	}
}
