package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
)

// Wait implements [driver.Waiter]. One subscription serves the whole process, for as long as somebody waits and ten seconds
// more. A lost connection loses hints: when it is there again everybody is woken, or at once with an error if the
// client does not repeat by itself.
func (s *Store) Wait(ctx context.Context, id driver.ID) error {
	if s.hints == nil {
		return errors.New("redisstore: only a rueidis client can wait")
	}
	a := s.newCall(id, 0)
	return s.hints.wait(ctx, a.key(), func() error { return s.transition(ctx, id, s.scripts.await, a, 0) })
}

const (
	linger = 10 * time.Second
	blink  = 20 * time.Millisecond
)

// hints wakes those who wait for a key when a script says on the channel that it has changed.
type hints struct {
	client  rueidis.Client
	channel string

	mu      sync.Mutex
	waiting map[string]map[chan error]bool // by key
	stop    context.CancelFunc             // ends the subscription; nil when there is none
	idle    *time.Timer
	closed  bool
	running sync.WaitGroup
}

func newHints(client rueidis.Client, channel string) *hints {
	h := &hints{client: client, channel: channel, waiting: make(map[string]map[chan error]bool)}
	h.idle = time.AfterFunc(linger, h.rest)
	h.idle.Stop()
	return h
}

// wait marks the record when it can hear what is then told. One that does not run will not be told of: it is looked at again
// soon, but whoever waits for it in a loop must not ask all the time.
func (h *hints) wait(ctx context.Context, key string, mark func() error) error {
	woken := make(chan error, 1)
	if err := h.enter(key, woken); err != nil {
		return err
	}
	defer h.leave(key, woken)
	var soon <-chan time.Time
	if err := mark(); errors.Is(err, driver.ErrLost) {
		soon = time.After(blink)
	} else if err != nil {
		return err
	}
	select {
	case <-soon:
		return nil
	case err := <-woken:
		return err
	case <-ctx.Done():
		return fmt.Errorf("redisstore: no hint yet: %w", ctx.Err())
	}
}

func (h *hints) enter(key string, woken chan error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.New("redisstore: closed")
	}
	h.idle.Stop()
	if h.waiting[key] == nil {
		h.waiting[key] = make(map[chan error]bool)
	}
	h.waiting[key][woken] = true
	if h.stop == nil {
		var ctx context.Context
		ctx, h.stop = context.WithCancel(context.Background())
		h.running.Go(func() { h.listen(ctx) })
	}
	return nil
}

func (h *hints) leave(key string, woken chan error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.waiting[key], woken)
	if len(h.waiting[key]) == 0 {
		delete(h.waiting, key)
	}
	if len(h.waiting) == 0 && !h.closed {
		h.idle.Reset(linger)
	}
}

// listen holds the subscription. What changed before it was there goes unheard, so that its beginning wakes everybody.
func (h *hints) listen(ctx context.Context) {
	subscribed := func(s rueidis.PubSubSubscription) {
		if s.Kind == "subscribe" {
			h.wakeAll(nil)
		}
	}
	with := rueidis.WithOnReceiveReturnHook(rueidis.WithOnSubscriptionHook(ctx, subscribed), h.unsubscribe)
	err := h.client.Receive(with, h.client.B().Subscribe().Channel(h.channel).Build(), func(m rueidis.PubSubMessage) {
		h.mu.Lock()
		defer h.mu.Unlock()
		wake(h.waiting[m.Message], nil)
	})
	h.mu.Lock()
	h.stop = nil
	h.mu.Unlock()
	h.wakeAll(fmt.Errorf("redisstore: the subscription ended: %w", err))
}

// unsubscribe is on the connection of the subscription, which carries other commands too.
func (h *hints) unsubscribe(err error, conn rueidis.CommandClient) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn.Do(ctx, conn.B().Unsubscribe().Channel(h.channel).Build()) // or the connection is gone
	return err
}

func (h *hints) wakeAll(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, all := range h.waiting {
		wake(all, why)
	}
}

func wake(all map[chan error]bool, why error) {
	for woken := range all {
		select {
		case woken <- why:
		default: // it is awake already
		}
	}
}

// rest ends the subscription when nobody has waited for a while.
func (h *hints) rest() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.waiting) == 0 && h.stop != nil {
		h.stop()
	}
}

func (h *hints) close() {
	h.mu.Lock()
	h.closed = true
	h.idle.Stop()
	if h.stop != nil {
		h.stop()
	}
	h.mu.Unlock()
	h.running.Wait()
}
