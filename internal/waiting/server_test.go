package waiting

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
)

// server holds keys, and takes its time to answer.
type server struct {
	takes   time.Duration
	lingers time.Duration // more, when nobody wants to know any more

	mu        sync.Mutex
	fences    map[driver.ID]uint64 // of the keys that are held
	fail      error
	questions []question
	underWay  int
	most      int // of underWay
}

type question struct {
	at  time.Time
	ids []driver.ID
}

func (s *server) held(ctx context.Context, ids []driver.ID) (map[driver.ID]uint64, error) {
	s.mu.Lock()
	s.questions = append(s.questions, question{time.Now(), ids})
	s.underWay++
	s.most = max(s.most, s.underWay)
	held, fail := make(map[driver.ID]uint64), s.fail
	for _, id := range ids {
		if fence := s.fences[id]; fence != 0 {
			held[id] = fence
		}
	}
	s.mu.Unlock()
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		time.Sleep(s.lingers)
		fail = ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.underWay--
	return held, fail
}

// hold is how keys are taken, or freed when the fence is 0.
func (s *server) hold(fence uint64, ids ...driver.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.fences[id] = fence
	}
}

func (s *server) mend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = nil
}

// busy is how many questions are under way.
func (s *server) busy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.underWay
}

// peak is how many questions have been under way at a time.
func (s *server) peak() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// since are the questions that were asked from then on.
func (s *server) since(then time.Time) (asked []question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.questions {
		if !q.at.Before(then) {
			asked = append(asked, q)
		}
	}
	return asked
}

// pass lets time pass, and all be done that is to happen in it.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// with runs a test in a bubble, at the end of which nobody may be left who waits or asks.
func with(t *testing.T, test func(t *testing.T, s *server, p *Poller)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &server{takes: time.Millisecond, fences: make(map[driver.ID]uint64)}
		p := New("xstore", s.held)
		t.Cleanup(p.Close)
		test(t, s, p)
	})
}

// waiter is somebody who waits for a key.
type waiter struct {
	leave context.CancelFunc
	ended chan error
}

// waitFor returns when somebody waits.
func waitFor(t *testing.T, p *Poller, id driver.ID) *waiter {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	w := &waiter{leave: leave, ended: make(chan error, 1)}
	go func() { w.ended <- p.Wait(ctx, id) }()
	synctest.Wait()
	return w
}

// end is what Wait has returned.
func (w *waiter) end(t *testing.T, what string) error {
	t.Helper()
	select {
	case err := <-w.ended:
		return err
	default:
		t.Fatalf("%s: it still waits", what)
		return nil
	}
}

func (w *waiter) waits(t *testing.T, what string) {
	t.Helper()
	select {
	case err := <-w.ended:
		t.Fatalf("%s: Wait has returned %v", what, err)
	default:
	}
}

func key(n int) driver.ID { return driver.ID{byte(n), byte(n >> 8)} }
