// Package faults breaks the server of a store, or the network in front of it, while many callers use the store, and then looks
// at every key: none ran twice, none lost its outcome, and everybody was told the same.
//
// A store's own test says which server there is and how the store is opened on it:
//
//	func TestKilledServer(t *testing.T) {
//		server := testsvc.Postgres(t)
//		faults.Kill(t, server, opener(server), 4000)
//	}
//
// A run in which too little happened fails too, because it proves nothing.
package faults

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// Store is one that is closed at the end.
type Store interface {
	driver.Store
	Close()
}

// Open opens a store through an address, host:port: that of the server or of a proxy in front of it. Stores with the same
// namespace have the same keys; the first one makes what it needs on the server.
type Open func(addr, namespace string) (Store, error)

// at opens a store that is closed at the end, again if the proxy has spoilt it.
func (open Open) at(t testing.TB, addr, namespace string) Store {
	t.Helper()
	s, err := open(addr, namespace)
	for try := 0; err != nil && try < 20; try++ {
		s, err = open(addr, namespace)
	}
	check.NoError(t, err, "opening a store")
	t.Cleanup(s.Close)
	return s
}

// LateAndLost lets requests arrive when their callers have long released what they asked for, and replies not arrive at all.
func LateAndLost(t *testing.T, server *testsvc.Server, open Open, keys int) {
	t.Helper()
	proxy, namespace := testsvc.NewProxy(t, server.Addr), testsvc.Name()
	surely, store := open.at(t, server.Addr, namespace), open.at(t, proxy.Addr, namespace)
	proxy.Fault(func(c testsvc.Chunk) testsvc.Action {
		switch chance := c.Chance(2); {
		case c.Number < 5: // these open a connection
			return testsvc.Action{}
		case c.Request && chance < 0.05:
			return testsvc.Action{Kind: testsvc.Late, After: time.Duration(chance * float64(10*time.Second)), Hang: chance < 0.005}
		case !c.Request && chance < 0.05:
			return testsvc.Action{Kind: testsvc.DropReply}
		default:
			return testsvc.Action{}
		}
	})
	l := NewLoad(store, keys)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	l.Run(ctx, 32)
	proxy.Fault(nil)
	late, lost := proxy.Count(testsvc.Late), proxy.Count(testsvc.DropReply)
	proxy.Wait(testsvc.Arrived, late)
	got := l.Audit(t, surely)
	check.True(t, late > 15 && lost > 10 && got.Again > 10 && got.Released > 10,
		"%d late requests, %d lost replies: too few faults to prove anything", late, lost)
}

// LostGrant loses the reply to a winner. Whoever acquired and was not told asks again and is told, with the same fence.
func LostGrant(t *testing.T, server *testsvc.Server, open Open) {
	t.Helper()
	proxy := testsvc.NewProxy(t, server.Addr)
	s := open.at(t, proxy.Addr, testsvc.Name())
	id, c := newID(), claim()
	proxy.Fault(func(chunk testsvc.Chunk) testsvc.Action {
		if chunk.Request && bytes.Contains(chunk.Bytes, c.Owner[:]) {
			return testsvc.Action{Kind: testsvc.DropReply}
		}
		return testsvc.Action{}
	})
	_, err := s.Acquire(t.Context(), id, c)
	check.True(t, err != nil && !errors.Is(err, driver.ErrUnavailable), "Acquire whose reply was lost: %v", err)
	proxy.Fault(nil)
	g, err := s.Acquire(t.Context(), id, claim())
	check.NoError(t, err, "Acquire by another caller")
	check.Equal(t, g.Verdict, driver.Running, "another caller")
	g, err = s.Acquire(t.Context(), id, c)
	check.NoError(t, err, "Acquire repeated")
	check.Equal(t, g.Verdict, driver.Acquired, "the winner")
	check.Equal(t, g.Record.Fence, 1, "the winner's fence")
}

// Kill kills the server under load, again and again: nothing that was acknowledged is lost. Of so many keys about two
// thousand are used.
func Kill(t *testing.T, server *testsvc.Server, open Open, keys int) {
	t.Helper()
	const kills = 20
	store := open.at(t, server.Addr, testsvc.Name())
	l := NewLoad(store, keys)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var callers sync.WaitGroup
	callers.Go(func() { l.Run(ctx, 8) })
	for range kills {
		l.awaitMore(100)
		server.Kill()
		server.Restart()
	}
	cancel()
	callers.Wait()
	got := l.Audit(t, store)
	check.True(t, got.Unknown > 0 && got.Replayed > 100, "too little happened to prove anything")
}
