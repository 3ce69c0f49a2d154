package control

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

func TestEventsAreTold(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		events, ended := make(chan Event), make(chan error, 1)
		go func() { ended <- w.desk.Watch(ctx, func(e Event) error { events <- e; return nil }) }()
		check.Equal(t, (<-events).Step, "watching", "the first event")

		id := idOf(orders, "k")
		w.events.Trace(t.Context(), onceward.Trace{Step: "store-call", Verb: "get"})
		w.events.Trace(t.Context(), onceward.Trace{Step: "extended", ID: id})
		w.events.Trace(t.Context(), onceward.Trace{Step: "swept"})
		w.events.Trace(t.Context(), onceward.Trace{
			Step: "completed", ID: id, Labels: driver.Labels{Operation: orders, KeyHint: "key-…"}, Attempt: 2, Fence: 3,
			Kind: driver.Answer, Took: 1500 * time.Millisecond, Reason: "r", Err: errors.New("e"),
		})
		got := <-events
		check.True(t, time.Since(got.Time) < time.Minute, "the time: %v", got.Time)
		got.Time = time.Time{}
		check.Equal(t, got, Event{
			Step: "completed", ID: id.String(), Operation: orders, KeyHint: "key-…", Attempt: 2, Fence: 3, Outcome: "answer",
			Took: Seconds(1500 * time.Millisecond), Reason: "r", Error: "e",
		}, "the event")

		doubt := w.doubt(t, orders, "d")
		_, err := w.desk.Resolve(t.Context(), Resolution{ID: doubt.String(), Fence: 1, Reason: "r"})
		check.NoError(t, err, "Resolve")
		check.Equal(t, (<-events).Step, "resolved", "the event of a resolution")
		cancel()
		check.NoError(t, <-ended, "the end")
	})
}

func TestSlowWatcherMissesEventsAndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var e Events
		goOn := make(chan struct{})
		var told []Event
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- e.Watch(ctx, func(event Event) error { told = append(told, event); <-goOn; return nil })
		}()
		synctest.Wait()
		trace := func(n int) {
			for range n {
				e.Trace(ctx, onceward.Trace{Step: "completed"}) // and never waits
			}
		}
		trace(maxWaiting + 5)
		goOn <- struct{}{} // takes one, which leaves a place
		synctest.Wait()
		trace(3)
		close(goOn)
		synctest.Wait()
		check.Equal(t, len(told), 1+maxWaiting+1+1, "events")
		check.Equal(t, told[maxWaiting+1].Missed, 5, "what was missed before the one that found a place")
		last := told[len(told)-1]
		check.True(t, last.Step == "missed" && last.Missed == 2, "what was missed after it: %v", last)
		trace(1)
		synctest.Wait()
		check.Equal(t, told[len(told)-1].Missed, 0, "missed, once that was told")
		cancel()
		check.NoError(t, <-ended, "the end")
		check.True(t, !e.watched.Load() && len(e.watchers) == 0, "a watcher is left")
	})
}

func TestNobodyWatchesForFree(t *testing.T) {
	var e Events
	trace := onceward.Trace{Step: "completed", ID: idOf(orders, "k"), Err: errors.New("e")}
	check.Equal(t, testing.AllocsPerRun(100, func() { e.Trace(t.Context(), trace) }), 0, "allocations")
}

func TestWatchersAreBounded(t *testing.T) {
	var e Events
	for range maxWatchers {
		_, err := e.join()
		check.NoError(t, err, "join")
	}
	wants(t, e.Watch(t.Context(), nil), Unavailable, "too many")
}

func TestWatchEndsWithItsReader(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world) {
		gone := errors.New("gone")
		check.ErrorIs(t, w.desk.Watch(t.Context(), func(Event) error { return gone }), gone, "Watch")
	})
}
