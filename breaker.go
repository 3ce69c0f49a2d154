package onceward

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

var errBreakerOpen = errors.New("the store failed repeatedly and is not asked for a moment")

// breaker keeps callers away from a store that does not answer. It stands in front of Acquire and Get only: what would
// end an attempt always reaches the store.
type breaker struct {
	failures int           // in a row, before it opens
	pause    time.Duration // how long it stays open
	patience time.Duration // how long a probe may take

	quiet atomic.Bool // closed, and no failure is counted: then nobody needs the mutex, which all calls share

	mu      sync.Mutex
	count   int
	open    bool
	probeAt time.Time
}

func newBreaker(o *Options) *breaker {
	b := &breaker{failures: o.BreakerFailures, pause: o.BreakerPause, patience: o.StoreTimeout}
	b.quiet.Store(true)
	return b
}

// allow returns nil if the store may be asked. While it is open, one caller at a time may: the probe. A probe of which
// nothing is heard, because its caller panicked for instance, is replaced by another one in the end.
func (b *breaker) allow() error {
	if b.quiet.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return nil
	}
	now := time.Now()
	if now.Before(b.probeAt) {
		return errBreakerOpen
	}
	b.probeAt = now.Add(b.patience + b.pause)
	return nil
}

// worked reports whether this success closed the breaker.
func (b *breaker) worked() bool {
	if b.quiet.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	closed := b.open
	b.count, b.open = 0, false
	b.quiet.Store(true)
	return closed
}

// failed reports whether this failure opened the breaker.
func (b *breaker) failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	b.quiet.Store(false)
	if b.count < b.failures {
		return false
	}
	opened := !b.open
	b.open = true
	b.probeAt = time.Now().Add(b.pause)
	return opened
}

// abstain gives the probe back without a judgement. The next one has to wait all the same: callers that leave early would
// otherwise probe a store that hangs without end.
func (b *breaker) abstain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probeAt = time.Now().Add(b.pause)
}
