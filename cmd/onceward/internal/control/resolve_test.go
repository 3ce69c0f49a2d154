package control

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

func TestResolve(t *testing.T) {
	for name, c := range map[string]struct {
		outcome string
		bytes   []byte
		state   string
		stored  driver.Outcome
	}{
		"with an answer":    {"answer", []byte("x\x00y\xff"), "done", driver.Outcome{Kind: driver.Answer, Bytes: []byte("x\x00y\xff")}},
		"with a tombstone":  {"tombstone", []byte("t"), "done", driver.Outcome{Kind: driver.Tombstone, Bytes: []byte("t")}},
		"without an answer": {"", nil, "absent", driver.Outcome{}},
	} {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, w *world) {
				id := w.doubt(t, orders, "k")
				after, err := w.desk.Resolve(t.Context(), Resolution{
					ID: id.String(), Fence: 1, Outcome: c.outcome, Bytes: c.bytes, Actor: "cli:ann", Reason: "asked the bank",
				})
				check.NoError(t, err, "Resolve")
				check.Equal(t, after.State, c.state, "the state after")
				r, err := w.store.Get(t.Context(), id)
				check.NoError(t, err, "Get")
				note := r.Note
				r.Outcome.Note, r.Note = driver.Note{}, driver.Note{}
				check.Equal(t, r.Outcome, c.stored, "what is stored")
				if c.state == "done" {
					check.Equal(t, note, driver.Note{Actor: "cli:ann", Reason: "asked the bank"}, "the note")
					check.Equal(t, after.Actor+after.Reason, "cli:annasked the bank", "the note in the record after")
				}
			})
		})
	}
}

func TestResolveIsTraced(t *testing.T) {
	store := memstore.New(nil)
	var traces []onceward.Trace
	w := &world{store: store}
	w.desk = NewDesk(store, &Options{Trace: func(_ context.Context, t onceward.Trace) { traces = append(traces, t) }})
	id := w.doubt(t, orders, "k")
	_, err := w.desk.Resolve(t.Context(), Resolution{ID: id.String(), Fence: 2, Reason: "r"})
	check.ErrorIs(t, err, driver.ErrLost, "Resolve with another fence")
	check.Equal(t, len(traces), 0, "what is told when nothing was resolved")
	_, err = w.desk.Resolve(t.Context(), Resolution{ID: id.String(), Fence: 1, Actor: "ann", Reason: "r"})
	check.NoError(t, err, "Resolve")
	check.Equal(t, len(traces), 1, "what is told")
	traces[0].Labels = driver.Labels{Operation: traces[0].Labels.Operation}
	check.Equal(t, traces[0], onceward.Trace{
		Step: "resolved", ID: id, Labels: driver.Labels{Operation: orders}, Attempt: 1, Fence: 1, Reason: "ann: r",
	}, "the trace")
}

func TestResolveSaysWhatTheKeyIsNow(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		resolve := func(id driver.ID, fence uint64, force bool) error {
			_, err := w.desk.Resolve(t.Context(), Resolution{ID: id.String(), Fence: fence, Force: force, Reason: "r"})
			return err
		}
		doubt, running := w.doubt(t, orders, "a"), idOf(orders, "b")
		w.begin(t, orders, "b")
		done := w.done(t, orders, "c", driver.Answer, "x")
		for _, c := range []struct {
			err  error
			says []string
		}{
			{resolve(doubt, 7, false), []string{"nothing was changed", "in-doubt", "fence 1, not 7"}},
			{resolve(doubt, 7, true), []string{"nothing was changed", "fence 1, not 7"}},
			{resolve(running, 1, false), []string{"nothing was changed", "running, not in doubt"}},
			{resolve(done, 1, false), []string{"nothing was changed", "done, not in doubt"}},
		} {
			wants(t, c.err, Lost, c.says...)
			check.ErrorIs(t, c.err, driver.ErrLost, "the error")
		}
		check.NoError(t, resolve(running, 1, true), "Resolve of a running key with force")
		wants(t, resolve(running, 1, true), NotFound, running.String())
	})
}

func TestWrongResolutions(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		id := w.doubt(t, orders, "k").String()
		for _, c := range []struct {
			r    Resolution
			says string
		}{
			{Resolution{ID: id[:12], Fence: 1, Reason: "r"}, "all of it"},
			{Resolution{ID: "x", Fence: 1, Reason: "r"}, "hexadecimal"},
			{Resolution{ID: id, Fence: 1}, "reason"},
			{Resolution{ID: id, Fence: 1, Reason: "r", Outcome: "invalid"}, `"invalid"`},
			{Resolution{ID: id, Fence: 1, Reason: "r", Bytes: []byte("x")}, "outcome"},
		} {
			_, err := w.desk.Resolve(t.Context(), c.r)
			wants(t, err, Wrong, c.says)
		}
		r, err := w.desk.Get(t.Context(), id)
		check.NoError(t, err, "Get")
		check.Equal(t, r.State, "in-doubt", "the state afterwards")
	})
}

// unsure is a store whose Resolve does what it is told and does not answer, or does nothing and says so.
type unsure struct {
	driver.Store

	err  error
	gets int // that succeed
}

func (u *unsure) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	if u.err != nil {
		return u.err
	}
	return u.Store.Resolve(ctx, id, r)
}

func (u *unsure) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	if u.gets--; u.gets < 0 {
		return driver.Record{}, errors.New("no answer")
	}
	return u.Store.Get(ctx, id)
}

func TestResolveOnAStoreThatFails(t *testing.T) {
	for _, c := range []struct {
		err  error
		gets int
		code Code
		says string
	}{
		{fmt.Errorf("%w: down", driver.ErrUnavailable), 1, Unavailable, "not resolved"},
		{errors.New("cut off"), 1, Unknown, "not known"},
		{driver.ErrLost, 1, Lost, "nothing was changed"},
	} {
		w := &world{store: memstore.New(nil)}
		id := w.doubt(t, orders, "k")
		d := NewDesk(&unsure{w.store, c.err, c.gets}, nil)
		_, err := d.Resolve(t.Context(), Resolution{ID: id.String(), Fence: 1, Reason: "r"})
		wants(t, err, c.code, c.says)
	}
}

func TestWhatIsResolvedStaysSoWhenItCannotBeReadAgain(t *testing.T) {
	for outcome, state := range map[string]string{"tombstone": "done", "": "absent"} {
		w := &world{store: memstore.New(nil)}
		id := w.doubt(t, orders, "k")
		d := NewDesk(&unsure{w.store, nil, 1}, nil)
		after, err := d.Resolve(t.Context(), Resolution{ID: id.String(), Fence: 1, Outcome: outcome, Reason: "r"})
		check.NoError(t, err, "Resolve")
		check.Equal(t, after.State, state, "the state after")
	}
}
