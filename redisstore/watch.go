package redisstore

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// leastPause is between two looks at what the server is.
const leastPause = time.Minute

// watch looks again at what the server is, because settings, roles and replicas change. It does so only while keys are
// acquired, and has no goroutine between two looks.
type watch struct {
	look  func(ctx context.Context)
	began time.Time
	due   atomic.Int64 // since it began

	mu      sync.Mutex
	stop    context.CancelFunc // of a look; nil when there is none
	closed  bool
	looking sync.WaitGroup
}

func newWatch(look func(ctx context.Context)) *watch {
	w := &watch{look: look, began: time.Now()}
	w.due.Store(int64(leastPause))
	return w
}

// again begins another look if it is time for one.
func (w *watch) again() {
	now, due := int64(time.Since(w.began)), w.due.Load()
	if now < due || !w.due.CompareAndSwap(due, now+int64(leastPause)) {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.stop != nil {
		return
	}
	var ctx context.Context
	ctx, w.stop = context.WithTimeout(context.Background(), patience)
	w.looking.Go(func() {
		w.look(ctx)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stop()
		w.stop = nil
	})
}

func (w *watch) close() {
	w.mu.Lock()
	w.closed = true
	if w.stop != nil {
		w.stop()
	}
	w.mu.Unlock()
	w.looking.Wait()
}

// lookAgain returns a function that asks the server and logs what has become of the promise, once for each change. A server
// that does not answer says nothing.
func (s *Store) lookAgain(inspect func(ctx context.Context) ([]facts, error), allowEviction, bestEffort bool) func(ctx context.Context) {
	said := s.promise.String()
	return func(ctx context.Context) {
		all, err := inspect(ctx)
		if err != nil {
			return
		}
		promise, err := judge(all, allowEviction)
		now, as := promise.String(), level(promise, bestEffort)
		if err != nil {
			now, as = err.Error(), slog.LevelWarn
		}
		if now != said {
			said = now
			s.log.Log(ctx, as, "redisstore: the server has changed: "+now, "server", s.promise.Server, "namespace", s.namespace)
		}
	}
}

func level(p Promise, bestEffort bool) slog.Level {
	if len(p.Doubts) > 0 && !bestEffort {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
