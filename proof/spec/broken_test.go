package spec

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/onceward/onceward/driver"
)

// flaw is one mistake. It is named after what the store does wrong.
type flaw string

const (
	none                flaw = ""
	NoFingerprint       flaw = "NoFingerprint"       // another request gets the first one's answer
	EarlyExpiry         flaw = "EarlyExpiry"         // leases are a fifth too short
	CheckThenAct        flaw = "CheckThenAct"        // everybody looks before anybody writes
	FenceReset          flaw = "FenceReset"          // a freed key starts again at 1
	SelfConflict        flaw = "SelfConflict"        // an owner whose reply was lost is told to wait for itself
	UnownedExtend       flaw = "UnownedExtend"       // anybody's sign of life counts
	UnownedComplete     flaw = "UnownedComplete"     // a stale owner overwrites
	UnownedRelease      flaw = "UnownedRelease"      // a stale owner frees its successor's key
	LateAcquire         flaw = "LateAcquire"         // nobody remembers who released
	DoneIsMine          flaw = "DoneIsMine"          // who completed may run again
	UnavailableButWrote flaw = "UnavailableButWrote" // "refused", and written
	ReaperKillsLive     flaw = "ReaperKillsLive"     // sweeps what is in doubt
	ResolveIgnoresFence flaw = "ResolveIgnoresFence" // resolves what the operator has not seen
	TakeoverWhileLeased flaw = "TakeoverWhileLeased" // the lease counts for nothing
	MaxAttemptsIgnored  flaw = "MaxAttemptsIgnored"  // runs again for ever
	TakeoverUnderHold   flaw = "TakeoverUnderHold"   // runs again what may have happened
	ForceKeepsFence     flaw = "ForceKeepsFence"     // an owner who was forced out looks current
	ResolvedIsMine      flaw = "ResolvedIsMine"      // the operator's outcome passes for the owner's
	OverwritesOutcome   flaw = "OverwritesOutcome"   // two answers to one request
	LazyGiveUp          flaw = "LazyGiveUp"          // waits for a lease that was given up
	CompleteInTimeOnly  flaw = "CompleteInTimeOnly"  // the late owner loses what it did
	FalsyResult         flaw = "FalsyResult"         // an empty outcome counts as none
	RetainOfTheClaim    flaw = "RetainOfTheClaim"    // what the outcome says of its retention is ignored
	LoserRenewsLease    flaw = "LoserRenewsLease"    // who asks keeps a dead owner alive
	UnsweptIsThere      flaw = "UnsweptIsThere"      // expired records are there until they are swept
)

// broken is a small store with a mistake. Without one it keeps the contract.
type broken struct {
	flaw flaw

	mu      sync.Mutex
	records map[driver.ID]*entry
	writes  int
}

type entry struct {
	driver.Record

	owner       driver.Owner
	began       time.Time
	leaseEnd    time.Time
	lease       time.Duration
	expires     time.Time
	retain      time.Duration
	doubtRetain time.Duration
}

func newBroken(f flaw) *broken { return &broken{flaw: f, records: map[driver.ID]*entry{}} }

// open enters the store and returns a copy of what is there.
func (b *broken) open(id driver.ID) (*entry, time.Time) {
	b.mu.Lock()
	now := time.Now()
	e := entry{Record: driver.Record{ID: id}}
	if kept := b.records[id]; kept != nil && (now.Before(kept.expires) || b.flaw == UnsweptIsThere) {
		e = *kept
	}
	return &e, now
}

// gap lets others in between look and write, if that is the flaw.
func (b *broken) gap() {
	if b.flaw == CheckThenAct {
		b.mu.Unlock()
		time.Sleep(time.Millisecond)
		b.mu.Lock()
	}
}

// write keeps the entry, and may say that it did not.
func (b *broken) write(e *entry) error {
	b.records[e.ID] = e
	b.writes++
	if b.flaw == UnavailableButWrote && b.writes%8 == 0 {
		return driver.ErrUnavailable
	}
	return nil
}

func (b *broken) read(e *entry, now time.Time) driver.Record {
	r := e.Record
	if r.Phase == driver.PhaseAbsent {
		return driver.Record{ID: r.ID}
	}
	r.Age, r.Left = now.Sub(e.began), e.expires.Sub(now)
	if r.Phase == driver.PhaseRunning {
		r.Lease = e.leaseEnd.Sub(now)
	}
	r.Outcome.Bytes = bytes.Clone(r.Outcome.Bytes)
	return r
}

func (b *broken) Get(_ context.Context, id driver.ID) (driver.Record, error) {
	e, now := b.open(id)
	defer b.mu.Unlock()
	return b.read(e, now), nil
}

func (b *broken) Acquire(_ context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	e, now := b.open(id)
	defer b.mu.Unlock()
	v := b.verdict(e, &c, now)
	b.gap()
	var err error
	switch {
	case v == driver.Acquired:
		err = b.write(b.grant(e, &c, now))
	case v == driver.Running && b.flaw == LoserRenewsLease:
		e.leaseEnd = now.Add(c.Lease)
		err = b.write(e)
	}
	return driver.Grant{Verdict: v, Record: b.read(e, now)}, err
}

func (b *broken) verdict(e *entry, c *driver.Claim, now time.Time) driver.Verdict {
	switch mine := e.owner == c.Owner; {
	case e.Phase == driver.PhaseAbsent && mine && b.flaw != LateAcquire:
		return driver.Lost
	case e.Phase == driver.PhaseAbsent:
		return driver.Acquired
	case b.flaw != NoFingerprint && !c.Matches(e.Fingerprint):
		return driver.Mismatch
	case e.Phase == driver.PhaseDone && (mine && b.flaw == DoneIsMine || len(e.Outcome.Bytes) == 0 && b.flaw == FalsyResult):
		return driver.Acquired
	case e.Phase == driver.PhaseDone:
		return driver.Done
	case mine && b.flaw != SelfConflict:
		return driver.Acquired
	case now.Before(e.leaseEnd) && b.flaw != TakeoverWhileLeased:
		return driver.Running
	case b.rerunnable(e):
		return driver.Acquired
	case now.Before(e.leaseEnd):
		return driver.Running
	default:
		return driver.InDoubt
	}
}

func (b *broken) rerunnable(e *entry) bool {
	return e.Rerunnable() || b.flaw == MaxAttemptsIgnored && e.OnCrash == driver.Rerun || b.flaw == TakeoverUnderHold
}

func (b *broken) grant(e *entry, c *driver.Claim, now time.Time) *entry {
	switch {
	case e.Phase == driver.PhaseAbsent:
		fence := e.Fence
		*e = entry{Record: driver.Record{ID: e.ID, Phase: driver.PhaseRunning, Fingerprint: c.Fingerprint, OnCrash: c.OnCrash,
			Fence: fence + 1, Attempt: 1, MaxAttempts: c.MaxAttempts}, began: now}
	case e.owner != c.Owner || e.Phase == driver.PhaseDone:
		e.Phase, e.Outcome = driver.PhaseRunning, driver.Outcome{}
		e.Fence, e.Attempt, e.began = e.Fence+1, e.Attempt+1, now
	}
	e.owner, e.retain, e.doubtRetain = c.Owner, c.Retain, c.DoubtRetain
	b.renew(e, c.Lease, now)
	return e
}

func (b *broken) renew(e *entry, lease time.Duration, now time.Time) {
	e.GivenUp, e.expires = lease == 0, now.Add(e.doubtRetain)
	if lease > 0 {
		e.lease = lease
	}
	if b.flaw == EarlyExpiry {
		lease -= lease / 5
	}
	if lease > 0 || b.flaw != LazyGiveUp {
		e.leaseEnd = now.Add(lease)
	}
}

func (b *broken) Extend(_ context.Context, id driver.ID, o driver.Owner, x driver.Extension) error {
	e, now := b.open(id)
	defer b.mu.Unlock()
	if e.Phase != driver.PhaseRunning || e.owner != o && b.flaw != UnownedExtend {
		return driver.ErrLost
	}
	b.renew(e, x.Lease, now)
	return b.write(e)
}

func (b *broken) Complete(_ context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	e, now := b.open(id)
	defer b.mu.Unlock()
	switch mine := e.owner == o; {
	case e.Phase == driver.PhaseAbsent || !mine && b.flaw != UnownedComplete:
		return driver.ErrLost
	case e.Phase == driver.PhaseRunning && b.flaw == CompleteInTimeOnly && !now.Before(e.leaseEnd):
		return driver.ErrLost
	case e.Phase == driver.PhaseDone && mine && e.Outcome.Kind == out.Kind && bytes.Equal(e.Outcome.Bytes, out.Bytes):
		return nil
	case e.Phase == driver.PhaseDone && b.flaw != OverwritesOutcome && b.flaw != UnownedComplete:
		return driver.ErrLost
	}
	b.end(e, out, now)
	return b.write(e)
}

func (b *broken) end(e *entry, out driver.Outcome, now time.Time) {
	retain := e.retain
	if out.Retain > 0 && b.flaw != RetainOfTheClaim {
		retain = out.Retain
	}
	e.Phase, e.began, e.GivenUp, e.expires = driver.PhaseDone, now, false, now.Add(retain)
	e.Outcome = driver.Outcome{Kind: out.Kind, Bytes: bytes.Clone(out.Bytes)}
}

func (b *broken) Release(_ context.Context, id driver.ID, o driver.Owner, _ driver.Note) error {
	e, now := b.open(id)
	defer b.mu.Unlock()
	switch {
	case e.Phase == driver.PhaseAbsent:
		e.owner, e.expires = o, later(e.expires, now.Add(driver.MinResidue))
		return b.write(e)
	case e.Phase == driver.PhaseRunning && (e.owner == o || b.flaw == UnownedRelease):
		return b.write(b.residue(e, now))
	default:
		return driver.ErrLost
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (b *broken) residue(e *entry, now time.Time) *entry {
	left := &entry{Record: driver.Record{ID: e.ID, Fence: e.Fence}, owner: e.owner}
	left.expires = now.Add(max(driver.MinResidue, 2*e.lease))
	if b.flaw == FenceReset {
		left.Fence = 0
	}
	return left
}

func (b *broken) Resolve(_ context.Context, id driver.ID, r driver.Resolution) error {
	e, now := b.open(id)
	defer b.mu.Unlock()
	seen := b.read(e, now)
	if e.Phase == driver.PhaseAbsent || e.Fence != r.Fence && b.flaw != ResolveIgnoresFence || !r.Force && !seen.InDoubt() {
		return driver.ErrLost
	}
	if r.Force && b.flaw != ForceKeepsFence {
		e.Fence++
	}
	if r.Outcome == nil {
		return b.write(b.residue(e, now))
	}
	b.end(e, *r.Outcome, now)
	if b.flaw != ResolvedIsMine {
		e.owner = driver.Owner{}
	}
	return b.write(e)
}

func (b *broken) Sweep(_ context.Context, limit int) (removed int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for id, e := range b.records {
		stale := b.flaw == ReaperKillsLive && e.Phase == driver.PhaseRunning && !now.Before(e.leaseEnd)
		if removed < limit && (stale || !now.Before(e.expires)) {
			delete(b.records, id)
			removed++
		}
	}
	return removed, nil
}
