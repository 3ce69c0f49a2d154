package waiting

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

var errDown = errors.New("the server is down")

// pauses are those between questions, without what the server takes.
func pauses(asked []question, takes time.Duration) (gaps []time.Duration) {
	for i := 1; i < len(asked); i++ {
		gaps = append(gaps, asked[i].at.Sub(asked[i-1].at)-takes)
	}
	return gaps
}

func checkPauses(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	check.True(t, len(got) >= len(want), "%d pauses: %v", len(got), got)
	for i, about := range want {
		about *= time.Millisecond
		check.True(t, got[i] >= about*3/4 && got[i] < about*5/4, "pause %d of %v is not about %v", i, got, about)
	}
}

func TestQuestionsBecomeRare(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		s.hold(1, key(1))
		start := time.Now()
		first := waitFor(t, p, key(1))
		pass(time.Minute)
		asked := s.since(start)
		checkPauses(t, []time.Duration{asked[0].at.Sub(start)}, 25)
		rare := pauses(asked, s.takes)
		checkPauses(t, rare, 25, 50, 100, 200, 250, 250, 250, 250)
		check.True(t, rare[5] != rare[6] || rare[6] != rare[7], "the pauses %v have no jitter", rare[5:8])

		s.hold(1, key(2))
		start = time.Now()
		second := waitFor(t, p, key(2))
		pass(time.Second)
		asked = s.since(start)
		check.True(t, asked[0].at.Sub(start) < lastPause*5/4+s.takes, "a newcomer's first question came after %v", asked[0].at.Sub(start))
		checkPauses(t, pauses(asked, s.takes), 25, 50, 100, 200)
		first.waits(t, "a key that is held")
		second.waits(t, "a key that is held")
	})
}

func TestWaitersShareOneQuestion(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		s.takes = time.Second // newcomers do not make it two
		var waiters []*waiter
		start := time.Now()
		for i := range 500 {
			s.hold(1, key(i%100))
			waiters = append(waiters, waitFor(t, p, key(i%100)))
			pass(10 * time.Millisecond)
		}
		pass(time.Minute)
		asked := s.since(start)
		check.Equal(t, s.peak(), 1, "questions at a time")
		check.Equal(t, len(asked[len(asked)-1].ids), 100, "keys of a question")
		for i, w := range waiters {
			w.waits(t, "a key that is held")
			s.hold(0, key(i%100))
		}
		pass(5 * time.Second)
		for _, w := range waiters {
			check.NoError(t, w.end(t, "a key that is free"), "Wait")
		}
	})
}

func TestNobodyAsksWhenNobodyWaits(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		for turn := range 3 {
			s.hold(1, key(1), key(2))
			start := time.Now()
			first, second := waitFor(t, p, key(1)), waitFor(t, p, key(2))
			pass(time.Second)
			check.True(t, len(s.since(start)) > 0, "turn %d: nobody asks", turn)
			s.hold(0, key(1))
			pass(time.Second)
			check.NoError(t, first.end(t, "a key that is free"), "Wait")
			second.leave()
			synctest.Wait()
			err := second.end(t, "whoever left")
			check.ErrorIs(t, err, context.Canceled, "Wait of whoever left")
			check.True(t, strings.HasPrefix(err.Error(), "xstore: "), "the error does not say whose it is: %v", err)

			p.running.Wait()
			left := time.Now()
			pass(time.Hour)
			check.Equal(t, len(s.since(left)), 0, "questions while nobody waits")
			check.Equal(t, len(p.keys), 0, "keys that are waited for")
		}
	})
}

// What was asked for whoever has left ends, and its failure is not that of whoever comes then.
func TestAQuestionEndsWithTheLastWhoWaits(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		s.hold(1, key(1))
		s.takes, s.lingers = time.Hour, time.Second
		last := waitFor(t, p, key(1))
		pass(time.Second)
		check.Equal(t, s.busy(), 1, "questions under way")
		last.leave()
		synctest.Wait()
		next := waitFor(t, p, key(1))
		pass(2 * time.Second)
		check.Equal(t, s.busy(), 1, "questions under way, when the one of who has left is over")
		next.waits(t, "a key that was not looked at")
	})
}

func TestAnotherAttemptWakes(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		s.hold(1, key(1))
		before := waitFor(t, p, key(1))
		pass(time.Minute)
		before.waits(t, "the attempt that was seen first")
		for s.busy() > 0 { // who comes meanwhile gets its answer too
			pass(s.takes)
		}
		s.hold(2, key(1))
		after := waitFor(t, p, key(1))
		pass(time.Second)
		check.NoError(t, before.end(t, "the next attempt"), "Wait")
		after.waits(t, "the attempt that was seen first")
	})
}

func TestAFreeKeyWakes(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		s.hold(1, key(2))
		free, held := waitFor(t, p, key(1)), waitFor(t, p, key(2))
		pass(2 * firstPause)
		check.NoError(t, free.end(t, "a key that is free"), "Wait")
		held.waits(t, "a key that is held")
	})
}

func TestAFailureIsToldToThoseItWasAskedFor(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		s.takes, s.fail = time.Second, errDown
		s.hold(1, key(1), key(2), key(3))
		asked := []*waiter{waitFor(t, p, key(1)), waitFor(t, p, key(1)), waitFor(t, p, key(2))}
		pass(2 * firstPause)
		s.mend()
		late := waitFor(t, p, key(3))
		pass(time.Second)
		for _, w := range asked {
			check.ErrorIs(t, w.end(t, "a question that failed"), errDown, "Wait")
		}
		pass(time.Minute)
		late.waits(t, "a key that is held")
		s.hold(0, key(3))
		pass(time.Minute)
		check.NoError(t, late.end(t, "a key that is free"), "Wait")
	})
}

// Whoever is slow to wake up misses nothing, and holds nobody up.
func TestASlowWaiter(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		woken, err := p.enter(key(1))
		check.NoError(t, err, "enter")
		defer p.leave(key(1), woken)
		other := waitFor(t, p, key(1))
		pass(time.Minute)
		check.NoError(t, other.end(t, "a key that is free"), "Wait")
		check.Equal(t, len(woken), 1, "what the slow one was told")
		check.True(t, len(s.since(time.Time{})) > 100, "nobody asks any more")
	})
}

// However many keys are waited for, no question is about more than a server reads at once, and each is asked for as often.
func TestManyKeysAreSeveralQuestions(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		const keys = 2*mostAsked + 500
		waiters := make([]*waiter, keys)
		for n := range waiters {
			s.hold(1, key(n))
			waiters[n] = waitFor(t, p, key(n))
		}
		pass(time.Second)
		for round := range slices.Chunk(s.since(time.Time{})[:6], 3) {
			asked := make(map[driver.ID]bool)
			for _, q := range round {
				check.True(t, len(q.ids) <= mostAsked, "a question about %d keys", len(q.ids))
				for _, id := range q.ids {
					asked[id] = true
				}
			}
			check.Equal(t, len(asked), keys, "keys that three questions were about")
		}
		check.Equal(t, s.peak(), 1, "questions at a time")
		for n := range waiters {
			s.hold(0, key(n))
		}
		pass(time.Second)
		for _, w := range waiters {
			check.NoError(t, w.end(t, "a key that is free"), "Wait")
		}
	})
}

func TestCloseWakesAll(t *testing.T) {
	with(t, func(t *testing.T, s *server, p *Poller) {
		s.hold(1, key(1), key(2))
		s.takes, s.lingers = time.Hour, time.Second
		waiters := []*waiter{waitFor(t, p, key(1)), waitFor(t, p, key(1)), waitFor(t, p, key(2))}
		pass(time.Second)
		check.Equal(t, s.busy(), 1, "questions under way")
		p.Close()
		check.Equal(t, s.busy(), 0, "questions under way after Close")
		synctest.Wait()
		for _, w := range append(waiters, waitFor(t, p, key(1))) {
			err := w.end(t, "a closed poller")
			check.True(t, err != nil && err.Error() == "xstore: closed", "Wait: %v", err)
		}
		p.Close()
		then := time.Now()
		pass(time.Hour)
		check.Equal(t, len(s.since(then)), 0, "questions after Close")
		New("xstore", s.held).Close() // one that never asked
	})
}
