package oncehttp_test

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/oncehttp"
	"github.com/onceward/onceward/storetest"
)

// door is a way to guard a handler. Scenarios know nothing else of what they try, so that they can be shown broken ones.
type door struct {
	name     string
	open     func(x *trial, next http.Handler, s setup) (http.Handler, levers)
	log      *journal
	patience time.Duration // after which something will not happen any more
	crowd    int           // how many duplicates come at once
	huge     int64         // bytes of an answer that nobody can keep
}

// setup is what a scenario needs to be different.
type setup struct {
	scope   func(*http.Request) (string, error) // nil means a single tenant
	policy  onceward.Policy
	options oncehttp.Options
	// What stands on either side of the door.
	inside, outside func(http.Handler) http.Handler
}

// levers are what a scenario does to the store behind a door.
type levers interface {
	// asked is how many calls the store has seen.
	asked() int
	// down makes the store refuse everything, or work again.
	down(down bool)
	// lose makes the store do the next call of the verb and lose the reply, or all calls until it is not down.
	lose(v storetest.Verb, always bool)
	// hold keeps back the store's next reply to the question whether to run.
	hold() (arrived <-chan struct{}, open func())
	// outlive returns when the attempt that runs has lived for so many leases.
	outlive(x *trial, leases int)
	// expire returns when the retention of the key is over.
	expire(x *trial, operation string)
	// waiting returns when so many duplicates wait, if this door lets them.
	waiting(x *trial, n int)
	// settled returns when a call whose reply was lost has been dealt with in the background.
	settled(x *trial, v storetest.Verb)
	// damage makes what will be stored for the request unreadable.
	damage(r *http.Request)
}

// onceDoor is the one that must keep every promise.
var onceDoor = &door{name: "oncehttp", open: openOnce, log: new(journal), patience: 30 * time.Second, crowd: 500, huge: 2 << 30}

const impatient = 100 * time.Millisecond // how long the guard asks a store that does not answer

func openOnce(x *trial, next http.Handler, s setup) (http.Handler, levers) {
	l := &onceLevers{events: newTally(), store: storetest.NewFaulty(memstore.New(nil))}
	guard, err := onceward.New(l.store, &onceward.Options{
		Policy: s.policy, BeginTimeout: impatient, CompleteTimeout: impatient,
		Logger: slog.New(slog.NewJSONHandler(x.door.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Trace:  func(_ context.Context, t onceward.Trace) { l.events.add(t.Step) },
	})
	check.NoError(x, err, "guard")
	l.guard = guard
	x.Cleanup(func() {
		l.down(false)
		l.store.Close()
		ctx, cancel := context.WithTimeout(context.Background(), x.door.patience)
		defer cancel()
		check.NoError(x, guard.Close(ctx), "closing the guard")
	})
	if s.scope == nil {
		s.scope = oncehttp.SingleTenant
	}
	return oncehttp.New(guard, s.scope, &s.options)(next), l
}

type onceLevers struct {
	guard  *onceward.Guard
	store  *storetest.Faulty
	events *tally
}

func (l *onceLevers) asked() int {
	n := 0
	for v := storetest.VerbAcquire; v <= storetest.VerbGet; v++ {
		n += l.store.Calls(v)
	}
	return n
}

func (l *onceLevers) down(down bool) {
	var fault storetest.Fault
	if down {
		fault = storetest.Refuse
	}
	for v := storetest.VerbAcquire; v <= storetest.VerbGet; v++ {
		l.store.Always(v, fault)
	}
}

func (l *onceLevers) lose(v storetest.Verb, always bool) {
	if always {
		l.store.Always(v, storetest.ApplyThenFail)
	} else {
		l.store.Next(v, storetest.ApplyThenFail)
	}
}

func (l *onceLevers) hold() (arrived <-chan struct{}, open func()) {
	g := l.store.HoldReply(storetest.VerbAcquire)
	return g.Arrived(), g.Open
}

// outlive counts signs of life, of which there are three in a lease.
func (l *onceLevers) outlive(x *trial, leases int) {
	l.events.reach(x, "extended", l.events.count("extended")+3*leases)
}

func (l *onceLevers) expire(x *trial, operation string) {
	key := onceward.Key{Scope: "single-tenant", Operation: operation, Value: theKey}
	for {
		record, err := l.guard.Lookup(x.Context(), key)
		check.NoError(x, err, "looking the key up")
		if record.State() == "absent" {
			return
		}
		time.Sleep(record.Left) // that this time passes is what the scenario is about
	}
}

func (l *onceLevers) waiting(x *trial, n int) { l.events.reach(x, "waiting", n) }

func (l *onceLevers) settled(x *trial, v storetest.Verb) {
	step := "completed"
	if v == storetest.VerbAcquire {
		step = "begin-undone"
	}
	l.events.reach(x, step, 1)
}

func (l *onceLevers) damage(r *http.Request) {
	if a, ok := onceward.FromContext(r.Context()); ok {
		_ = a.Complete([]byte("damaged")) // the scenario finds out whether it is
	}
}
