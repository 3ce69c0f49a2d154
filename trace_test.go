package onceward_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// steps collects what a guard traces, without the calls of the store.
type steps struct {
	mu     sync.Mutex
	traces []onceward.Trace
}

func (s *steps) trace(_ context.Context, t onceward.Trace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.Step != "store-call" {
		s.traces = append(s.traces, t)
	}
}

func (s *steps) names() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.traces {
		names = append(names, t.Step)
	}
	return names
}

func (s *steps) count(step string) (n int) {
	for _, name := range s.names() {
		if name == step {
			n++
		}
	}
	return n
}

func TestEveryTransitionIsTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen steps
		g := newGuard(t, memstore.New(nil), &onceward.Options{Trace: seen.trace, Policy: onceward.Policy{OnCrash: onceward.Rerun}})
		a := begin(t, g, nil)
		time.Sleep(12 * time.Second) // one sign of life
		refused(t, g, onceward.ErrInProgress)
		check.NoError(t, a.Release("rolled back"), "Release")
		check.NoError(t, begin(t, g, nil).Doubt("timeout"), "Doubt")
		check.NoError(t, begin(t, g, nil).Complete([]byte("paid")), "Complete")
		replayed(t, g, "paid")
		check.Equal(t, seen.names(), []string{
			"acquired", "extended", "refused", "released", "acquired", "given-up", "taken-over", "completed", "replayed",
		}, "steps")
		for _, tr := range seen.traces {
			check.Equal(t, tr.ID, payment.ID(), "id of %s", tr.Step)
			check.Equal(t, tr.Labels.Operation, "charge", "operation of %s", tr.Step)
		}
		completed := seen.traces[slices.Index(seen.names(), "completed")]
		check.Equal(t, completed.Kind, driver.Answer, "kind")
		check.Equal(t, completed.Size, 4, "size")
		check.Equal(t, completed.Attempt, 2, "attempt")
	})
}

func TestTheLogHoldsNoKeysAndNoAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
		g := newGuard(t, memstore.New(nil), &onceward.Options{Logger: log})
		a := begin(t, g, nil)
		refused(t, g, onceward.ErrInProgress)
		check.NoError(t, a.Complete([]byte("canary-answer")), "Complete")
		replayed(t, g, "canary-answer")
		_, err := g.Begin(context.Background(), payment, nil, onceward.Fingerprint{Algorithm: "x", Sum: "canary-sum"})
		check.ErrorIs(t, err, onceward.ErrKeyReused, "Begin")
		time.Sleep(2 * time.Minute) // a sweep
		closeGuard(t, g)            // nothing writes to the log any more
		for _, canary := range []string{payment.Value, payment.Scope, "canary"} {
			check.True(t, !strings.Contains(text.String(), canary), "%q is in the log:\n%s", canary, text.String())
		}
		for _, word := range []string{
			"msg=acquired", "msg=refused", "msg=completed", "msg=replayed", "msg=swept", "key=orde…", "id=" + payment.ID().Short(),
			"operation=charge", "outcome=answer", "verb=acquire",
		} {
			check.True(t, strings.Contains(text.String(), word), "%q is not in the log:\n%s", word, text.String())
		}
	})
}

func TestALongOperationIsCutInTheLog(t *testing.T) {
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	g := newGuard(t, memstore.New(nil), &onceward.Options{Logger: log})
	long := onceward.Key{Scope: "s", Operation: "POST /" + strings.Repeat("a", 30_000), Value: "k"}
	_, err := g.Begin(context.Background(), long, nil, onceward.Fingerprint{Algorithm: "x", Sum: "y"})
	check.NoError(t, err, "Begin")
	check.True(t, strings.Contains(text.String(), "msg=acquired") && text.Len() < 2_000, "%d bytes are logged", text.Len())
}
