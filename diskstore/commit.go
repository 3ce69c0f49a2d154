package diskstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/failpoint"
	"github.com/onceward/onceward/internal/record"
)

// enter admits a call until leave. A closed or failed store admits none.
func (s *Store) enter(ctx context.Context) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if !s.inUse.TryRLock() {
		return fmt.Errorf("%w: diskstore: %s is closed", driver.ErrUnavailable, s.dir.path)
	}
	if s.failure() != nil {
		s.leave()
		return s.unavailable()
	}
	return nil
}

func (s *Store) leave() { s.inUse.RUnlock() }

// hold enters and takes the stripe of id, so that nobody else reads or changes its key before release.
//
// A stripe is held until what was written under it is durable. That is what makes a read wait for the sync of the write
// that it would see; keys that share a stripe by chance wait for each other too, so there are many.
func (s *Store) hold(ctx context.Context, id driver.ID) (release func(), err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	stripe := s.stripes[int(binary.BigEndian.Uint16(id[:]))%len(s.stripes)]
	select {
	case stripe <- struct{}{}:
		return func() { <-stripe; s.leave() }, nil
	case <-ctx.Done():
		s.leave()
		return nil, ended(ctx)
	case <-s.failed:
		s.leave()
		return nil, s.unavailable()
	}
}

// change makes one transition: it reads the entry of id, asks decide, and returns when the next one is durable.
func (s *Store) change(ctx context.Context, id driver.ID, decide judge) error {
	release, err := s.hold(ctx, id)
	if err != nil {
		return err
	}
	batch, err := s.prepare(id, decide)
	if batch == nil || err != nil {
		release()
		return err
	}
	return s.commit(ctx, batch, release)
}

// prepare returns nil when nothing changes.
func (s *Store) prepare(id driver.ID, decide judge) (*pebble.Batch, error) {
	old, err := s.load(id)
	if err != nil {
		return nil, err
	}
	// Read under the stripe, so that time never goes back for a key.
	now, was, since := s.trail.moment(s.now()), int64(0), s.toldSince(old)
	if old != nil {
		was = old.Gone
	}
	made, err := decide(old, now)
	if made == nil || err != nil {
		return nil, err
	}
	if err := s.disk.usable(); err != nil {
		return nil, err
	}
	b, err := s.replace(id, old != nil, was, made.next)
	if err == nil && made.told != nil {
		err = s.trail.keep(b, id, now, since, made.told)
	}
	return b, err
}

// replace is the batch that stores next and keeps the expiry index, where each entry lies in the bucket of its end.
// A sign of life mostly stays within its bucket, and then costs no more than the record.
func (s *Store) replace(id driver.ID, existed bool, was int64, next *entry) (*pebble.Batch, error) {
	b := s.db.NewBatch()
	old, bucket := s.bucket(was), s.bucket(next.Gone)
	if existed && old != bucket {
		if err := b.Delete(indexKey(old, id), nil); err != nil {
			return nil, err
		}
	}
	if !existed || old != bucket {
		if err := b.Set(indexKey(bucket, id), nil, nil); err != nil {
			return nil, err
		}
	}
	if err := b.Set(recordKey(id), record.Append(nil, (*record.Stored)(next)), nil); err != nil {
		return nil, err
	}
	return b, nil
}

// load returns nil if there is no trace of the key. DB.Get would not ask the filters of the last level, and so would read a
// block of the disk for each key that is new.
func (s *Store) load(id driver.ID) (e *entry, err error) {
	iter, err := s.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, fmt.Errorf("%w: diskstore: reading: %w", driver.ErrUnavailable, err)
	}
	if iter.SeekPrefixGE(recordKey(id)) {
		e, err = decode(id, iter.Value())
	}
	switch broken := iter.Close(); {
	case pebble.IsCorruptionError(broken):
		return nil, fmt.Errorf("%w: diskstore: %s", driver.ErrUndecodable, brief(broken))
	case broken != nil:
		return nil, fmt.Errorf("%w: diskstore: reading: %w", driver.ErrUnavailable, broken)
	}
	return e, err
}

func decode(id driver.ID, value []byte) (*entry, error) {
	stored, err := record.Decode(value)
	if err == nil {
		err = stored.CheckID(id)
	}
	if err != nil {
		return nil, fmt.Errorf("diskstore: id %s: %w", id.Short(), err)
	}
	return (*entry)(&stored), nil
}

// A step is a batch that is to be durable before it is released.
type step struct {
	batch   *pebble.Batch
	release func()
	done    chan<- error // has room
}

// A queue holds the steps that came while others were applied.
type queue struct {
	mu      sync.Mutex
	steps   []step
	drained bool // somebody is at it
}

// put reports whether nobody is at the queue, so that the caller has to drain it.
func (q *queue) put(one step) (idle bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.steps = append(q.steps, one)
	idle, q.drained = !q.drained, true
	return idle
}

// take returns the next steps that make up no more than a size, but at least one. None are the end of the drain.
func (q *queue) take(size int) []step {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for n < len(q.steps) {
		size -= q.steps[n].batch.Len()
		if size < 0 && n > 0 {
			break
		}
		n++
	}
	group := q.steps[:n:n]
	q.steps = q.steps[n:]
	if len(q.steps) == 0 {
		q.steps = nil // else what is over stays in memory
	}
	q.drained = n > 0
	return group
}

// commit makes the batch durable and then calls release, also when it returns earlier because ctx ended or the store
// failed.
func (s *Store) commit(ctx context.Context, b *pebble.Batch, release func()) error {
	done := make(chan error, 1)
	if s.queue.put(step{b, release, done}) {
		go s.drain() // it cannot be interrupted, and does not return from a failure of the disk
	}
	return s.await(ctx, done)
}

func (s *Store) await(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("diskstore: outcome unknown: %w", ctx.Err())
	case <-s.failed:
		return s.unknown()
	}
}

// drain commits what is queued, as one batch with one sync, until nothing is.
func (s *Store) drain() {
	for {
		// Whoever can run is let first. With many callers that makes groups several times as large, and one who is alone
		// hardly notices.
		runtime.Gosched()
		group := s.queue.take(s.sizes.group)
		if len(group) == 0 {
			return
		}
		err := s.applyAll(group)
		failpoint.At(failpoint.AfterSync)
		for _, one := range group {
			one.release()
			one.done <- err
		}
	}
}

func (s *Store) applyAll(group []step) error {
	all := group[0].batch
	for _, one := range group[1:] {
		if err := errors.Join(all.Apply(one.batch, nil), one.batch.Close()); err != nil {
			s.fail(err)
		}
	}
	return s.apply(all, pebble.Sync)
}

func (s *Store) apply(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := s.db.Apply(b, o); err != nil {
		s.fail(err)
	}
	if s.failure() != nil { // Apply succeeds after failures that it has only told its Logger about
		return s.unknown()
	}
	return b.Close()
}
