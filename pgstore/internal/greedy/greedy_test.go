package greedy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

var (
	errSpoilt = errors.New("one of them is bad")
	errDown   = errors.New("the server is down")
)

// line is a queue to a server that takes a second for whatever it is asked.
type line struct {
	Queue[int]

	mu      sync.Mutex
	flights [][]int // what went together
	alone   []int
	fail    func(calls []int) error
}

func newLine() *line {
	l := new(line)
	l.Together = func(ctx context.Context, calls []int) error {
		l.mu.Lock()
		l.flights = append(l.flights, slices.Clone(calls))
		l.mu.Unlock()
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
		if l.fail != nil {
			return l.fail(calls)
		}
		return nil
	}
	l.Alone = func(err error) bool { return errors.Is(err, errSpoilt) }
	return l
}

func (l *line) call(ctx context.Context, n int) (alone bool, err error) {
	return l.Do(ctx, driver.ID{byte(n)}, n, func() error {
		l.mu.Lock()
		l.alone = append(l.alone, n)
		l.mu.Unlock()
		select {
		case <-time.After(time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// begin makes calls in the background, each when the one before waits.
func (l *line) begin(t *testing.T, all *sync.WaitGroup, want error, calls ...int) {
	for _, n := range calls {
		all.Go(func() {
			if _, err := l.call(t.Context(), n); !errors.Is(err, want) {
				t.Errorf("call %d: %v, want %v", n, err, want)
			}
		})
		synctest.Wait()
	}
}

func TestThoseWhoComeMeanwhileGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := newLine(), time.Now()
		var all sync.WaitGroup
		l.begin(t, &all, nil, 7, 3, 9, 1, 3, 5)
		all.Wait()
		check.Equal(t, l.alone, []int{7, 3}, "calls that went alone")
		check.Equal(t, l.flights, [][]int{{1, 3, 5, 9}}, "what went together")
		check.Equal(t, time.Since(start), 3*time.Second, "the time it took")
		alone, err := l.call(t.Context(), 2)
		check.True(t, alone && err == nil, "the next one when all is quiet: alone %v, %v", alone, err)
	})
}

func TestAFlightTakesSoMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine()
		var all sync.WaitGroup
		l.begin(t, &all, nil, 0)
		for n := range 300 {
			id := driver.ID{1, byte(n), byte(n >> 8)}
			all.Go(func() { _, _ = l.Do(t.Context(), id, n, func() error { return nil }) })
		}
		all.Wait()
		check.Equal(t, len(l.flights), 2, "flights")
		check.Equal(t, len(l.flights[0]), most, "calls in the first")
	})
}

// What one has spoilt is made by each alone; what would fail for each is not.
func TestABadCallDoesNotSpoilTheOthers(t *testing.T) {
	for want, alone := range map[error]int{nil: 4, errDown: 1} {
		synctest.Test(t, func(t *testing.T) {
			l := newLine()
			l.fail = func([]int) error {
				if want == nil {
					return errSpoilt
				}
				return want
			}
			var all sync.WaitGroup
			l.begin(t, &all, nil, 7)
			l.begin(t, &all, want, 1, 2, 3)
			all.Wait()
			check.Equal(t, len(l.alone), alone, "calls that went alone after %v", want)
		})
	}
}

// Whoever leaves does not stop the others; when all have left, so does the flight.
func TestCallersLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine()
		var all sync.WaitGroup
		l.begin(t, &all, nil, 7)
		waits, leave := context.WithCancel(t.Context())
		first, leaveFirst := context.WithCancel(t.Context())
		for n, ctx := range map[int]context.Context{1: waits, 2: first, 3: first} {
			all.Go(func() {
				start := time.Now()
				_, err := l.call(ctx, n)
				if !errors.Is(err, context.Canceled) || time.Since(start) > 1500*time.Millisecond {
					t.Errorf("call %d ended after %v: %v", n, time.Since(start), err)
				}
			})
		}
		synctest.Wait()
		leave() // before it goes
		synctest.Wait()
		time.Sleep(1500 * time.Millisecond)
		leaveFirst() // in the middle
		synctest.Wait()
		check.Equal(t, l.flights, [][]int{{2, 3}}, "what went together")
		all.Wait()
		alone, err := l.call(t.Context(), 4)
		check.True(t, alone && err == nil, "the next one: alone %v, %v", alone, err)
		l.Close()
	})
}

// A leader who has left just then passes the word on.
func TestALeaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			l := newLine()
			ctx, leave := context.WithCancel(t.Context())
			var all sync.WaitGroup
			l.begin(t, &all, nil, 7)
			all.Go(func() { _, _ = l.call(ctx, 1) })
			synctest.Wait()
			time.Sleep(time.Second) // the first one lands at the same moment
			leave()
			all.Wait()
			alone, err := l.call(t.Context(), 4)
			check.True(t, alone && err == nil, "the next one: alone %v, %v", alone, err)
		}
	})
}

// A connection that is dead without a sign holds nobody up for long.
func TestASlowFlightIsOvertaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLine()
		var all sync.WaitGroup
		l.begin(t, &all, nil, 7, 1)
		time.Sleep(2 * slow)
		start := time.Now()
		alone, err := l.call(t.Context(), 2)
		check.True(t, alone && err == nil && time.Since(start) == time.Second, "alone %v after %v: %v", alone, time.Since(start), err)
		all.Wait()
	})
}
