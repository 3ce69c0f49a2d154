package intx

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

func TestAnUnknownCommitIsSettled(t *testing.T) {
	for _, c := range []struct {
		name    string
		fault   fault
		down    bool // nobody answers afterwards
		blank   bool // or only that the key is free
		want    error
		effects int
		state   string
		within  time.Duration
	}{
		{name: "lost reply", fault: lost, effects: 1, state: "done"},
		{name: "lost on the way", fault: dropped, want: ErrNotCommitted, state: "absent"},
		{name: "arrives later", fault: late, effects: 1, state: "done", within: 2 * time.Second},
		{name: "nobody notices", fault: silent, want: errUnsettled, state: "absent", within: settleFor},
		{name: "record cannot be read", fault: lost, blank: true, want: errUnsettled, effects: 1, state: "done", within: settleFor},
		{name: "nobody answers", fault: lost, down: true, want: errUnsettled, effects: 1, state: "done", within: settleFor},
	} {
		t.Run(c.name, func(t *testing.T) {
			with(t, onceward.Policy{}, func(k *kit) {
				k.d.commit = func(int) fault {
					if c.down {
						k.d.begin = func() error { return errConnection }
					}
					if c.blank {
						k.d.get = func() error { return errConnection }
					}
					return c.fault
				}
				begun := time.Now()
				got, err := k.do(charge(nil))
				check.True(k, errors.Is(err, c.want), "Do: %v", err)
				check.True(k, time.Since(begun) <= c.within, "settled after %v", time.Since(begun))
				if c.want == nil {
					check.Equal(k, got, "receipt", "result")
				} else {
					check.ErrorIs(k, err, onceward.ErrUnavailable, "Do")
				}
				k.d.get = nil
				k.check(c.effects, c.state)

				// In all cases the same again is right, once the server knows that the client is gone.
				k.d.commit, k.d.begin = nil, nil
				time.Sleep(2 * time.Hour)
				got, err = k.do(charge(nil))
				check.NoError(k, err, "Do again")
				check.Equal(k, got, "receipt", "result")
				k.check(1, "done")
			})
		})
	}
}

// Between a COMMIT that did not arrive and the look at the record, another one may have run.
func TestAnUnknownCommitThatSomebodyElseMadeUpFor(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		hundred, err := onceward.FingerprintJSON([]byte("100"))
		check.NoError(k, err, "fingerprint")
		theirs := driver.Claim{
			Owner: driver.Owner{1}, Fingerprint: hundred, OnCrash: driver.Hold, Lease: time.Minute, Retain: time.Hour,
			DoubtRetain: time.Hour,
		}
		k.d.commit = func(int) fault {
			k.d.begin = func() error {
				k.d.begin = nil
				_, err := k.d.acquire(context.Background(), order.ID(), theirs)
				return errors.Join(err, k.d.Complete(context.Background(), order.ID(), theirs.Owner,
					driver.Outcome{Kind: driver.Answer, Bytes: []byte(`{"type":"string","value":"theirs"}`)}))
			}
			return dropped
		}
		got, err := k.do(charge(nil))
		check.NoError(k, err, "Do")
		check.Equal(k, got, "theirs", "result")
		k.check(0, "done")
	})
}

// With many who ask, the key is never seen free: the record alone then says what happened.
func TestAnUnknownCommitIsSettledInACrowd(t *testing.T) {
	with(t, onceward.Policy{}, func(k *kit) {
		other := &work{d: k.d, id: order.ID()}
		k.d.commit = func(int) fault {
			k.d.taken[order.ID()] = other // as soon as the commit lets go of it
			return lost
		}
		got, err := k.do(charge(nil))
		check.NoError(k, err, "Do")
		check.Equal(k, got, "receipt", "result")
		k.d.mu.Lock()
		other.free()
		k.d.mu.Unlock()
	})
}
