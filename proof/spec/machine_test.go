package spec

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/proof/report"
)

func TestMain(m *testing.M) {
	flag.Parse()
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(report.Size(20, 1000)), "rapid.nofailfile": "true"} {
		if err := flag.Set(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// move is one call of a sequence, and what passes before it. Everything about it is settled before it is made, so that
// moves can be left out of a sequence that goes wrong.
type move struct {
	Op

	pause time.Duration
	off   int // how far the fence that is named is off the one that was seen last
}

func moves(unit time.Duration) *rapid.Generator[[]move] {
	times := func(name string, t *rapid.T, of ...int) time.Duration {
		return time.Duration(rapid.SampledFrom(of).Draw(t, name)) * unit
	}
	one := rapid.Custom(func(t *rapid.T) move {
		m := move{
			pause: times("pause", t, 0, 0, 0, 1, 2, 4, 7), off: rapid.SampledFrom([]int{0, 0, 0, 1, -1}).Draw(t, "off"),
			Op: Op{
				Verb:  rapid.SampledFrom([]Verb{Acquire, Acquire, Acquire, Extend, Complete, Release, Resolve, Get}).Draw(t, "verb"),
				Owner: rapid.IntRange(1, 4).Draw(t, "owner"),
			},
		}
		switch m.Verb {
		case Acquire:
			m.Request = rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(t, "request")
			m.OnCrash = rapid.SampledFrom([]driver.OnCrash{driver.Hold, driver.Rerun}).Draw(t, "on crash")
			m.MaxAttempts = rapid.IntRange(1, 3).Draw(t, "attempts")
			m.Lease, m.Retain = times("lease", t, 1, 3), times("retain", t, 1, 5, 20)
			m.DoubtRetain = max(m.Lease, times("doubt", t, 1, 5, 20))
		case Extend:
			m.Lease = times("lease", t, 0, 1, 3)
		case Resolve:
			m.Owner, m.Force = 0, rapid.Bool().Draw(t, "force")
			fallthrough
		case Complete:
			m.Outcome = rapid.SampledFrom([]int{65, 66, 71, emptyOutcome}).Draw(t, "outcome")
			m.Retain = times("retain", t, 0, 1, 20)
			if m.Verb == Resolve && rapid.Bool().Draw(t, "free") {
				m.Outcome = 0
			}
		default:
		}
		return m
	})
	return rapid.SliceOfN(one, 1, 40)
}

// follow makes the moves one after the other, and asks the specification about each answer.
func follow(ctx context.Context, store driver.Store, rules Rules, sequence []move) error {
	p := Profile{Keys: 1, Clients: 1}
	c := newClient(newPlay(store, &p, uint64(time.Now().UnixNano()), 0), 0, 0)
	may, log := []state{{}}, ""
	for _, m := range sequence {
		time.Sleep(m.pause)
		o := m.Op
		if o.Verb == Resolve {
			o.Fence = uint64(max(0, c.known[0].fence.Load()+int64(m.off)))
		}
		made := c.call(ctx, &o)
		a := made.Output.(*Answer)
		log += fmt.Sprintf("%13v  %v = %v\n", o.Sent, o, a)
		var next []state
		for _, s := range may {
			next = append(next, rules.step(s, &o, a)...)
		}
		if len(next) == 0 {
			return errors.New("the last answer is none that a store may give:\n" + log)
		}
		may = next
	}
	return nil
}

func TestMemoryStepByStep(t *testing.T) {
	for range 20 { // it costs less than the others
		rapid.Check(t, func(r *rapid.T) {
			sequence := moves(10*time.Second).Draw(r, "moves")
			if err := inBubble(t, func() driver.Store { return memstore.New(nil) }, sequence); err != nil {
				r.Fatal(err)
			}
		})
	}
}

func inBubble(t *testing.T, open func() driver.Store, sequence []move) (err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { err = follow(t.Context(), open(), Rules{}, sequence) })
	return err
}

func TestDiskStepByStep(t *testing.T) {
	t.Parallel() // most of it is waiting
	store := openDisk(t, t.TempDir())
	t.Cleanup(func() { check.NoError(t, store.Close(), "closing it") })
	stepByStep(t, store, Rules{}, 3*time.Millisecond)
}

func TestServersStepByStep(t *testing.T) {
	for _, on := range services {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel() // as above
			server := on.start(t)
			stepByStep(t, on.open(t, server, server.Addr), on.rules, 2*on.rules.Skew)
		})
	}
}

func stepByStep(t *testing.T, store driver.Store, rules Rules, unit time.Duration) {
	t.Helper()
	rapid.Check(t, func(r *rapid.T) {
		if err := follow(context.Background(), store, rules, moves(unit).Draw(r, "moves")); err != nil {
			r.Fatal(err)
		}
	})
}

// What goes wrong is made short: a stale Release needs an Acquire by another owner before it, and nothing else.
func TestStepByStepFindsTheShortestWay(t *testing.T) {
	rec := &recorder{TB: t}
	rapid.Check(rec, func(r *rapid.T) {
		sequence := moves(10*time.Second).Draw(r, "moves")
		if err := inBubble(t, func() driver.Store { return newBroken(UnownedRelease) }, sequence); err != nil {
			r.Fatal(err)
		}
	})
	check.True(t, rec.failed, "a stale Release was not seen")
	check.Equal(t, strings.Count(rec.last, " = "), 2, "calls of the shortest sequence that shows it:\n%s", rec.last)
	t.Log(rec.last)
}

// recorder takes what rapid says of a failure.
type recorder struct {
	rapid.TB

	failed bool
	last   string
}

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) Fail()                 { r.failed = true }
func (r *recorder) Failed() bool          { return r.failed }
func (r *recorder) FailNow()              {}
func (r *recorder) Logf(string, ...any)   {}
func (r *recorder) Log(args ...any)       { r.last = fmt.Sprint(args...) }
