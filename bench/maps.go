package main

import (
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// claims is the least that could be called a store.
type claims interface {
	// acquire returns an outcome only if the key is done.
	acquire(id driver.ID, c *driver.Claim) (outcome string, acquired bool)
	complete(id driver.ID, o driver.Owner, outcome []byte) bool
}

// entry holds what a record has to hold.
type entry struct {
	owner       driver.Owner
	fingerprint driver.Fingerprint
	labels      driver.Labels
	note        driver.Note
	fence       uint64
	done        bool
	began       time.Duration
	lease       time.Duration
	keep        time.Duration
	retain      time.Duration
	outcome     string
}

var epoch = time.Now()

func newEntry(c *driver.Claim) *entry {
	return &entry{
		owner: c.Owner, fingerprint: c.Fingerprint, labels: c.Labels, note: c.Note, fence: 1,
		began: time.Since(epoch), lease: c.Lease, keep: c.DoubtRetain, retain: c.Retain,
	}
}

func (e *entry) replay(c *driver.Claim) string {
	if !e.done || !c.Matches(e.fingerprint) || time.Since(epoch)-e.began > e.keep {
		return ""
	}
	return e.outcome
}

func (e *entry) end(o driver.Owner, outcome []byte) bool {
	if e.done || e.owner != o {
		return false
	}
	e.done, e.outcome, e.began, e.keep = true, string(outcome), time.Since(epoch), e.retain
	return true
}

// shardedMap is a map and a mutex for each first byte of an id.
type shardedMap [256]struct {
	mu      sync.Mutex
	entries map[driver.ID]*entry
}

func newShardedMap() claims {
	m := new(shardedMap)
	for i := range m {
		m[i].entries = make(map[driver.ID]*entry)
	}
	return m
}

func (m *shardedMap) acquire(id driver.ID, c *driver.Claim) (outcome string, acquired bool) {
	shard := &m[id[0]]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if e := shard.entries[id]; e != nil {
		return e.replay(c), false
	}
	shard.entries[id] = newEntry(c)
	return "", true
}

func (m *shardedMap) complete(id driver.ID, o driver.Owner, outcome []byte) bool {
	shard := &m[id[0]]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	e := shard.entries[id]
	return e != nil && e.end(o, outcome)
}

// syncMap is a sync.Map whose entries have a mutex of their own.
type syncMap struct{ entries sync.Map }

type lockedEntry struct {
	sync.Mutex
	*entry
}

func newSyncMap() claims { return new(syncMap) }

func (m *syncMap) acquire(id driver.ID, c *driver.Claim) (outcome string, acquired bool) {
	found, ok := m.entries.Load(id) // before LoadOrStore, so that a replay makes no entry
	if !ok {
		if found, ok = m.entries.LoadOrStore(id, &lockedEntry{entry: newEntry(c)}); !ok {
			return "", true
		}
	}
	e := found.(*lockedEntry) //nolint:forcetypeassert // nothing else is in the map
	e.Lock()
	defer e.Unlock()
	return e.replay(c), false
}

func (m *syncMap) complete(id driver.ID, o driver.Owner, outcome []byte) bool {
	found, ok := m.entries.Load(id)
	if !ok {
		return false
	}
	e := found.(*lockedEntry) //nolint:forcetypeassert // nothing else is in the map
	e.Lock()
	defer e.Unlock()
	return e.end(o, outcome)
}
