package onceward

import (
	"errors"
	"sync"
	"time"
)

var errBreakerOpen = errors.New("the store failed repeatedly and is not asked for a moment")

// breaker keeps callers away from a store that does not answer. It stands in front of Acquire and Get only: what would
// end an attempt always reaches the store.
type breaker struct {
	failures int           // in a row, before it opens
	pause    time.Duration // how long it stays open

	mu      sync.Mutex
	count   int
	open    bool
	probing bool
	probeAt time.Time
}

// allow returns nil if the store may be asked. While open, one caller per pause may: the probe.
func (b *breaker) allow() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.open {
		return nil
	}
	if b.probing || time.Now().Before(b.probeAt) {
		return errBreakerOpen
	}
	b.probing = true
	return nil
}

// worked reports whether this success closed the breaker.
func (b *breaker) worked() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	closed := b.open
	b.count, b.open, b.probing = 0, false, false
	return closed
}

// failed reports whether this failure opened the breaker.
func (b *breaker) failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	if b.count < b.failures {
		return false
	}
	opened := !b.open
	b.open, b.probing = true, false
	b.probeAt = time.Now().Add(b.pause)
	return opened
}

// abstain gives the probe back without a judgement.
func (b *breaker) abstain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
}
