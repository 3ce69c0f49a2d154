package oncehttp_test

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/onceward/onceward/storetest"
)

// database is what the twins keep their results in: a map whose entries expire, by a clock that only scenarios move.
type database struct {
	lease, retention time.Duration

	mu      sync.Mutex
	now     time.Duration
	entries map[string]entry
	calls   int
	broken  bool
	lost    map[storetest.Verb]int // replies that are still to be lost; negative means all
	held    *heldReply
	spoil   bool // the next result is stored damaged
}

type entry struct {
	value string
	until time.Duration
}

type heldReply struct{ arrived, opened chan struct{} }

func newDatabase(s setup) *database {
	d := &database{
		lease: 10 * time.Second, retention: 24 * time.Hour,
		entries: make(map[string]entry), lost: make(map[storetest.Verb]int),
	}
	if s.policy.Lease > 0 {
		d.lease = s.policy.Lease
	}
	if s.policy.Retention > 0 {
		d.retention = s.policy.Retention
	}
	return d
}

// call makes one step. The errors are such as clients of databases return them.
func (d *database) call(verb storetest.Verb, step func()) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls++
	if d.broken {
		return errors.New("dial tcp: connection refused")
	}
	step()
	if d.lost[verb] != 0 {
		d.lost[verb]--
		return errors.New("read tcp: i/o timeout")
	}
	return nil
}

func (d *database) live(key string) (string, bool) {
	e, ok := d.entries[key]
	if !ok || e.until <= d.now {
		return "", false
	}
	return e.value, true
}

func (d *database) exists(key string) (known bool, err error) {
	err = d.call(storetest.VerbAcquire, func() { _, known = d.live(key) })
	d.mu.Lock()
	held := d.held
	d.held = nil
	d.mu.Unlock()
	if held != nil {
		close(held.arrived)
		<-held.opened
	}
	return known, err
}

func (d *database) get(key string) (value string, err error) {
	err = d.call(storetest.VerbGet, func() { value, _ = d.live(key) })
	return value, err
}

func (d *database) set(key, value string) error {
	return d.call(storetest.VerbComplete, func() {
		if d.spoil {
			value = "{"
		}
		d.entries[key] = entry{value, d.now + d.retention}
	})
}

// setIfAbsent is how the lock is taken.
func (d *database) setIfAbsent(key, value string) (done bool, err error) {
	err = d.call(storetest.VerbExtend, func() {
		if _, known := d.live(key); !known {
			d.entries[key], done = entry{value, d.now + d.lease}, true
		}
	})
	return done, err
}

func (d *database) del(key string) error {
	return d.call(storetest.VerbRelease, func() { delete(d.entries, key) })
}

// What scenarios do to the store, done to this one.

func (d *database) asked() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

func (d *database) down(down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = down
	clear(d.lost)
}

func (d *database) lose(v storetest.Verb, always bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lost[v] = 1
	if always {
		d.lost[v] = -1
	}
}

func (d *database) hold() (arrived <-chan struct{}, open func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	held := &heldReply{make(chan struct{}), make(chan struct{})}
	d.held = held
	return held.arrived, sync.OnceFunc(func() { close(held.opened) })
}

func (d *database) pass(t time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now += t
}

func (d *database) outlive(_ *trial, leases int) { d.pass(time.Duration(leases) * d.lease) }
func (d *database) expire(*trial, string)        { d.pass(d.retention) }
func (d *database) waiting(*trial, int)          {}

// settled waits for a lock that could not be freed.
func (d *database) settled(*trial, storetest.Verb) { d.pass(d.lease) }

func (d *database) damage(*http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spoil = true
}

// storeless is what scenarios do to the store of a door that has none.
type storeless struct{ *database }

func (storeless) hold() (arrived <-chan struct{}, open func()) {
	closed := make(chan struct{})
	close(closed)
	return closed, func() {}
}
