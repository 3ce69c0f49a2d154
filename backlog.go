package onceward

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/sleep"
)

var errClosed = errors.New("the guard is closed")

// backlog is the guard's work in the background: outcomes and releases that the store has not taken yet, and the sweeper.
type backlog struct {
	closing context.Context    //nolint:containedctx // ends when no more callers come
	refuse  context.CancelFunc // ends closing
	waited  context.Context    //nolint:containedctx // ends when Close stops waiting; jobs live no longer
	abandon context.CancelFunc // ends waited

	mu   sync.Mutex
	owed int           // jobs that Close waits for
	paid chan struct{} // closed when owed falls to zero; nil while nobody waits
	jobs sync.WaitGroup
}

func (b *backlog) init() {
	b.closing, b.refuse = context.WithCancel(context.Background())
	b.waited, b.abandon = context.WithCancel(context.Background())
}

func (b *backlog) closed() bool { return b.closing.Err() != nil }

// run starts work that ends as soon as the guard closes.
func (b *backlog) run(job func(ctx context.Context)) {
	b.jobs.Go(func() { job(b.closing) })
}

// owe starts work that Close waits for.
func (b *backlog) owe(job func(ctx context.Context)) {
	b.mu.Lock()
	b.owed++
	b.mu.Unlock()
	go func() {
		defer b.pay()
		job(b.waited)
	}()
}

func (b *backlog) pay() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.owed--
	if b.owed == 0 && b.paid != nil {
		close(b.paid)
		b.paid = nil
	}
}

// close ends the guard's own work, waits for what is owed, and gives up on the rest when ctx ends.
func (b *backlog) close(ctx context.Context) error {
	b.refuse()
	b.jobs.Wait()
	paid, owed := b.payday()
	if owed == 0 {
		return nil
	}
	select {
	case <-paid:
		return nil
	case <-ctx.Done():
		b.abandon()
		return fmt.Errorf("onceward: closed with up to %d outcomes not stored; their keys will be in doubt, or run again: %w",
			owed, context.Cause(ctx))
	}
}

func (b *backlog) payday() (<-chan struct{}, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.owed > 0 && b.paid == nil {
		b.paid = make(chan struct{})
	}
	return b.paid, b.owed
}

// decided reports whether the store has said how a call went.
func decided(err error) bool { return err == nil || errors.Is(err, driver.ErrLost) }

// insist repeats a call of the store until it succeeds, is lost, or ctx ends. It returns the last error.
func insist(ctx context.Context, call func(context.Context) error) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := call(ctx)
		if decided(err) || !sleep.For(ctx, jitter(pause)) {
			return err
		}
	}
}

// jitter is d, give or take a tenth, so that many attempts that began together do not go on together.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64())) //nolint:gosec // not a secret
}
