package diskstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

var bg = context.Background()

// An ack is something that a caller was told, and that therefore must survive.
type ack struct {
	what byte
	id   driver.ID
}

const (
	ackHeld     = 'h' // it runs, or has ended
	ackDone     = 'd' // it is done with the outcome
	ackReleased = 'r' // its owner has lost it
)

// The key with an id is always acquired by the same owner, who treats it in the same way.

func keyOf(round, worker, n int) driver.ID {
	return sha256.Sum256(fmt.Appendf(nil, "%d/%d/%d", round, worker, n))
}

func ownerOf(id driver.ID) driver.Owner { return driver.Owner(id[:16]) }
func outcomeOf(id driver.ID) []byte     { return id[:] }
func isReleased(id driver.ID) bool      { return id[31]%4 == 0 }
func isCompleted(id driver.ID) bool     { return id[31]%4 > 1 }

func claimOf(id driver.ID) driver.Claim {
	return driver.Claim{
		Owner: ownerOf(id), Fingerprint: driver.Fingerprint{Algorithm: "sha256", Sum: string(id[:])},
		OnCrash: driver.Hold, MaxAttempts: 1, MaxExecution: time.Hour, Lease: time.Hour, Retain: time.Hour, DoubtRetain: time.Hour,
	}
}

func acquire(t testing.TB, s *Store, id driver.ID) driver.Record {
	t.Helper()
	g, err := s.Acquire(bg, id, claimOf(id))
	check.NoError(t, err, "Acquire")
	check.Equal(t, g.Verdict, driver.Acquired, "the verdict")
	return g.Record
}

func complete(s *Store, id driver.ID) error {
	return s.Complete(bg, id, ownerOf(id), driver.Outcome{Kind: driver.Answer, Bytes: outcomeOf(id)})
}

// A load is callers and readers at work. Tell gets each ack after the call that it stands for has returned, from several
// goroutines.
type load struct {
	store  *Store
	get    func(context.Context, driver.ID) (driver.Record, error) // of the readers
	round  int
	tell   func(ack)
	latest [8]atomic.Int64 // key of each worker
}

// run returns when ctx ends or the store fails.
func (l *load) run(ctx context.Context) {
	var all sync.WaitGroup
	for worker := range l.latest {
		all.Go(func() {
			for n := 0; ctx.Err() == nil && l.use(keyOf(l.round, worker, n)) == nil; n++ {
				l.latest[worker].Store(int64(n + 1))
			}
		})
	}
	for range 4 {
		all.Go(func() {
			for err := error(nil); err == nil && ctx.Err() == nil; {
				err = l.look()
			}
		})
	}
	all.Wait()
}

func (l *load) use(id driver.ID) error {
	g, err := l.store.Acquire(bg, id, claimOf(id))
	if err != nil || g.Verdict != driver.Acquired {
		return errors.Join(err, errors.New("not acquired"))
	}
	l.tell(ack{ackHeld, id})
	switch {
	case isReleased(id):
		if err := l.store.Release(bg, id, ownerOf(id), driver.Note{}); err != nil {
			return err
		}
		l.tell(ack{ackReleased, id})
	case isCompleted(id):
		if err := complete(l.store, id); err != nil {
			return err
		}
		l.tell(ack{ackDone, id})
	}
	return nil
}

// look reads a key that is being written just now.
func (l *load) look() error {
	worker := rand.IntN(len(l.latest))
	id := keyOf(l.round, worker, int(l.latest[worker].Load()))
	rec, err := l.get(bg, id)
	if err != nil {
		return err
	}
	switch rec.Phase {
	case driver.PhaseRunning:
		l.tell(ack{ackHeld, id})
	case driver.PhaseDone:
		l.tell(ack{ackDone, id})
	default: // not acquired yet, or released
	}
	return nil
}

// kept says what has become of something that was acknowledged, if it is lost.
func kept(s *Store, a ack) error {
	rec, err := s.Get(bg, a.id)
	if err != nil {
		return err
	}
	switch {
	case a.what == ackHeld && !isReleased(a.id) && rec.Phase == driver.PhaseAbsent:
		return errors.New("it was held and is absent")
	case a.what == ackDone && string(rec.Outcome.Bytes) != string(outcomeOf(a.id)):
		return fmt.Errorf("it was done and is %s with %q", rec.State(), rec.Outcome.Bytes)
	case a.what == ackReleased:
		g, err := s.Acquire(bg, a.id, claimOf(a.id))
		if err != nil || g.Verdict != driver.Lost {
			return errors.Join(fmt.Errorf("it was released and its owner's Acquire is %v", g.Verdict), err)
		}
	}
	return nil
}

func checkKept(t *testing.T, s *Store, acks []ack) {
	t.Helper()
	for _, a := range acks {
		check.NoError(t, kept(s, a), "%c of id %s", a.what, a.id.Short())
	}
}

// consistent compares records and expiry index.
func (s *Store) consistent() error {
	index := map[driver.ID]uint64{}
	entries, err := s.each(indexPrefix, func(key, _ []byte) error {
		id := driver.ID(key[9:])
		if _, twice := index[id]; twice {
			return fmt.Errorf("id %s is in two buckets", id.Short())
		}
		index[id] = uint64(key[1])<<56 | uint64(key[2])<<48 | uint64(key[3])<<40 | uint64(key[4])<<32 |
			uint64(key[5])<<24 | uint64(key[6])<<16 | uint64(key[7])<<8 | uint64(key[8])
		return nil
	})
	if err != nil {
		return err
	}
	records, err := s.each(recordPrefix, func(key, value []byte) error {
		id := driver.ID(key[1:])
		e, err := decode(id, value)
		if err != nil {
			return nil //nolint:nilerr // it was damaged on purpose
		}
		if want := s.bucket(e.Gone); index[id] != want {
			return fmt.Errorf("id %s is in bucket %d, want %d", id.Short(), index[id], want)
		}
		return nil
	})
	if err == nil && records != entries {
		err = fmt.Errorf("%d records and %d entries of the index", records, entries)
	}
	return err
}

// each calls f for every key of the database that begins with prefix, and counts them.
func (s *Store) each(prefix byte, f func(key, value []byte) error) (n int, err error) {
	iter, err := s.db.NewIter(nil)
	if err != nil {
		return 0, err
	}
	for ok := iter.SeekGE([]byte{prefix}); ok && iter.Key()[0] == prefix && err == nil; ok = iter.Next() {
		n++
		err = f(iter.Key(), iter.Value())
	}
	return n, errors.Join(err, iter.Error(), iter.Close())
}
