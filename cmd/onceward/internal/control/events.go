package control

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
)

const (
	maxWatchers = 16
	maxWaiting  = 256 // events that a watcher has not taken yet
)

// Event is something that happened to a key, or to the guard. Zero fields are not known, or mean nothing here.
type Event struct {
	Time      time.Time `json:"time"` // by the clock of the process
	Step      string    `json:"step"` // as in onceward.Trace; or watching, the first one; or missed
	ID        string    `json:"id,omitempty"`
	Operation string    `json:"operation,omitempty"`
	KeyHint   string    `json:"key_hint,omitempty"`
	Attempt   int       `json:"attempt,omitempty"`
	Fence     uint64    `json:"fence,omitempty"`
	Outcome   string    `json:"outcome,omitempty"`
	Count     int       `json:"count,omitempty"`
	Took      Seconds   `json:"took,omitempty"`
	Reason    string    `json:"reason,omitempty"`
	Error     string    `json:"error,omitempty"`
	// Missed is how many events before this one the watcher was too slow for.
	Missed int `json:"missed,omitempty"`
}

// Events passes on what a guard traces to those who watch. The zero value is ready to use, and safe for concurrent use.
type Events struct {
	watched  atomic.Bool
	mu       sync.Mutex
	watchers map[*watcher]struct{}
}

type watcher struct {
	events chan Event
	missed int // since the last one that found a place
}

// Trace is a hook for onceward.Options. It never waits: a watcher that is too slow misses events, and is told how many.
// While nobody watches it does nothing.
func (e *Events) Trace(_ context.Context, t onceward.Trace) {
	if !e.watched.Load() || !worthTelling(&t) {
		return
	}
	event := eventOf(&t)
	e.mu.Lock()
	defer e.mu.Unlock()
	for w := range e.watchers {
		event.Missed = w.missed
		select {
		case w.events <- event:
			w.missed = 0
		default:
			w.missed++
		}
	}
}

// worthTelling leaves out what would bury the rest.
func worthTelling(t *onceward.Trace) bool {
	switch t.Step {
	case "store-call", "extended":
		return false
	case "swept":
		return t.Count > 0 || t.Err != nil
	default:
		return true
	}
}

func eventOf(t *onceward.Trace) Event {
	event := Event{
		Time: time.Now(), Step: t.Step, Operation: t.Labels.Operation, KeyHint: t.Labels.KeyHint,
		Attempt: t.Attempt, Fence: t.Fence, Count: t.Count, Took: Seconds(t.Took), Reason: t.Reason,
	}
	if t.ID != (driver.ID{}) {
		event.ID = t.ID.String()
	}
	if t.Kind != 0 {
		event.Outcome = t.Kind.String()
	}
	if t.Err != nil {
		event.Error = t.Err.Error()
	}
	return event
}

// Watch tells of each event, one after the other, until ctx ends, which is no error, or tell returns an error.
func (e *Events) Watch(ctx context.Context, tell func(Event) error) error {
	w, err := e.join()
	if err != nil {
		return err
	}
	defer e.leave(w)
	event := Event{Time: time.Now(), Step: "watching"}
	for {
		if err := tell(event); err != nil {
			return err
		}
		if missed := e.takeMissed(w); missed > 0 {
			event = Event{Time: time.Now(), Step: "missed", Missed: missed}
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case event = <-w.events:
		}
	}
}

func (e *Events) join() (*watcher, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.watchers) >= maxWatchers {
		return nil, &Error{Unavailable, "too many watch already: end one of them"}
	}
	w := &watcher{events: make(chan Event, maxWaiting)}
	if e.watchers == nil {
		e.watchers = map[*watcher]struct{}{}
	}
	e.watchers[w] = struct{}{}
	e.watched.Store(true)
	return w, nil
}

func (e *Events) leave(w *watcher) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.watchers, w)
	e.watched.Store(len(e.watchers) > 0)
}

// takeMissed is what the watcher would not hear of for as long as nothing else happens: it has taken all that waited.
func (e *Events) takeMissed(w *watcher) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(w.events) > 0 {
		return 0
	}
	missed := w.missed
	w.missed = 0
	return missed
}
