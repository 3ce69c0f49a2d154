package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/onceward/onceward/driver"
)

// key is the sequential specification of one key. Its methods are the transitions: each takes the moment of the call,
// the call, and the store's answer, and returns the key after it, or why the store may not answer so. Moments are counted
// from the start of the history. Where the contract leaves a choice, the key follows what the store chose.
type key struct {
	phase       driver.Phase
	owner       driver.Owner // who holds or completed it; zero once an operator resolved it
	fingerprint driver.Fingerprint
	onCrash     driver.OnCrash
	maxAttempts int
	maxExec     time.Duration
	fence       uint64
	unseen      bool // the fence may be higher than that
	attempt     int
	began       time.Duration // the attempt or, when it is done, its end
	leaseEnd    time.Duration
	expires     time.Duration
	givenUp     bool
	retain      time.Duration
	doubtRetain time.Duration
	shortest    time.Duration // lease of this attempt
	outcome     driver.Outcome

	// The residue: who is refused and until when, and the fence that the next one must exceed.
	refused      driver.Owner
	refusedUntil time.Duration
	floor        uint64
	floorUntil   time.Duration
	// A residue may be kept for longer than promised, or several of them: these owners may be refused.
	mayRefuse []driver.Owner
}

// at lets time pass.
func (k key) at(now time.Duration) key {
	if k.phase != driver.PhaseAbsent && now >= k.expires {
		k = key{mayRefuse: k.mayRefuse}
	}
	if now >= k.floorUntil {
		k.floor = 0
	}
	return k
}

func (k key) inDoubt(now time.Duration) bool {
	return k.phase == driver.PhaseRunning && now >= k.leaseEnd && !k.rerunnable()
}

func (k key) rerunnable() bool { return k.onCrash == driver.Rerun && k.attempt < k.maxAttempts }

func (k key) verdict(now time.Duration, c driver.Claim) driver.Verdict {
	switch {
	case k.phase == driver.PhaseAbsent && c.Owner == k.refused && now < k.refusedUntil:
		return driver.Lost
	case k.phase == driver.PhaseAbsent:
		return driver.Acquired
	case !c.Matches(k.fingerprint):
		return driver.Mismatch
	case k.phase == driver.PhaseDone:
		return driver.Done
	case c.Owner == k.owner:
		return driver.Acquired
	case now < k.leaseEnd:
		return driver.Running
	case k.rerunnable():
		return driver.Acquired
	default:
		return driver.InDoubt
	}
}

func (k key) acquire(now time.Duration, c driver.Claim, g driver.Grant) (key, error) {
	k = k.at(now)
	want := k.verdict(now, c)
	kept := g.Verdict == driver.Lost && k.phase == driver.PhaseAbsent && slices.Contains(k.mayRefuse, c.Owner)
	if kept {
		want = driver.Lost
	}
	if g.Verdict != want {
		return k, fmt.Errorf("the verdict must be %v", want)
	}
	if want != driver.Acquired {
		return k, nil
	}
	switch fence := g.Record.Fence; {
	case k.phase == driver.PhaseAbsent:
		if fence <= k.floor {
			return k, fmt.Errorf("the fence must exceed %d", k.floor)
		}
		k = key{phase: driver.PhaseRunning, owner: c.Owner, fingerprint: c.Fingerprint, onCrash: c.OnCrash,
			maxAttempts: c.MaxAttempts, maxExec: c.MaxExecution, fence: fence, attempt: 1, began: now,
			shortest: c.Lease, mayRefuse: k.mayRefuse}
	case k.owner == c.Owner:
		k.shortest = min(k.shortest, c.Lease)
	default:
		if fence <= k.fence {
			return k, fmt.Errorf("the fence must exceed %d", k.fence)
		}
		k.owner, k.fence, k.attempt, k.began, k.shortest = c.Owner, fence, k.attempt+1, now, c.Lease
	}
	if g.Record.Fingerprint == c.Fingerprint {
		k.fingerprint = c.Fingerprint // it matched; which algorithm's is kept from now on is the store's choice
	}
	k.leaseEnd, k.expires, k.givenUp = now+c.Lease, now+c.DoubtRetain, false
	k.retain, k.doubtRetain = c.Retain, c.DoubtRetain
	return k, nil
}

func (k key) extend(now time.Duration, o driver.Owner, lease time.Duration, err error) (key, error) {
	k = k.at(now)
	mine := k.phase == driver.PhaseRunning && k.owner == o
	if mine && err == nil {
		k.leaseEnd, k.expires, k.givenUp = now+lease, now+k.doubtRetain, lease == 0
		if lease > 0 {
			k.shortest = min(k.shortest, lease)
		}
	}
	return k, judge(mine, err)
}

func (k key) complete(now time.Duration, o driver.Owner, out driver.Outcome, err error) (key, error) {
	k = k.at(now)
	mine := k.phase == driver.PhaseRunning && k.owner == o
	again := k.phase == driver.PhaseDone && k.owner == o && o != driver.Owner{} &&
		k.outcome.Kind == out.Kind && bytes.Equal(k.outcome.Bytes, out.Bytes)
	if mine && err == nil {
		k = k.done(now, out)
	}
	return k, judge(mine || again, err)
}

func (k key) done(now time.Duration, out driver.Outcome) key {
	retain := k.retain
	if out.Retain > 0 {
		retain = out.Retain
	}
	k.phase, k.began, k.expires, k.givenUp = driver.PhaseDone, now, now+retain, false
	k.outcome = driver.Outcome{Kind: out.Kind, Bytes: out.Bytes}
	return k
}

func (k key) release(now time.Duration, o driver.Owner, err error) (key, error) {
	k = k.at(now)
	mine := k.phase == driver.PhaseRunning && k.owner == o
	switch {
	case err != nil:
	case mine:
		k = k.absent(now)
	case k.phase == driver.PhaseAbsent && (k.refused != o || now >= k.refusedUntil):
		k.refused, k.refusedUntil = o, now+driver.MinResidue
		k.mayRefuse = append(slices.Clip(k.mayRefuse), o)
	}
	return k, judge(mine || k.phase == driver.PhaseAbsent, err)
}

// absent leaves the residue.
func (k key) absent(now time.Duration) key {
	until := now + max(driver.MinResidue, 2*k.shortest)
	gone := key{floor: k.fence, floorUntil: until, mayRefuse: k.mayRefuse}
	if k.owner != (driver.Owner{}) {
		gone.refused, gone.refusedUntil = k.owner, until
		gone.mayRefuse = append(slices.Clip(k.mayRefuse), k.owner)
	}
	return gone
}

func (k key) resolve(now time.Duration, r driver.Resolution, err error) (key, error) {
	k = k.at(now)
	legal := k.phase != driver.PhaseAbsent && r.Fence == k.fence && (r.Force || k.inDoubt(now))
	if legal && k.unseen && errors.Is(err, driver.ErrLost) {
		return k, nil // the Resolve before it may have raised the fence
	}
	if !legal || err != nil {
		return k, judge(legal, err)
	}
	if r.Force {
		k.fence++
	}
	if r.Outcome == nil {
		return k.absent(now), nil
	}
	k = k.done(now, *r.Outcome)
	k.mayRefuse = append(slices.Clip(k.mayRefuse), k.owner)
	k.owner, k.unseen = driver.Owner{}, true
	return k, nil
}

// see compares a record that was read with what it must be.
func (k key) see(now time.Duration, got driver.Record, slack time.Duration) (key, error) {
	k = k.at(now)
	if k.phase == driver.PhaseAbsent || got.Phase == driver.PhaseAbsent {
		if got.Phase != k.phase {
			return k, fmt.Errorf("the record is %s, its phase must be %d", got.State(), k.phase)
		}
		return k, nil
	}
	if k.unseen && got.Fence >= k.fence {
		k.fence, k.unseen = got.Fence, false
	}
	want := driver.Record{
		ID: got.ID, Phase: k.phase, Fingerprint: k.fingerprint, OnCrash: k.onCrash, Fence: k.fence, Attempt: k.attempt,
		MaxAttempts: k.maxAttempts, MaxExecution: k.maxExec, Lease: k.leaseEnd - now, GivenUp: k.givenUp,
		Age: now - k.began, Left: k.expires - now, Outcome: k.outcome,
	}
	if k.phase == driver.PhaseDone {
		want.Lease, got.GivenUp = 0, false
	}
	got.Labels, got.Note, got.Outcome.Note = driver.Labels{}, driver.Note{}, driver.Note{}
	if diff := compare(got, want, 0, slack); diff != "" {
		return k, errors.New("the record is not what it must be: " + diff)
	}
	return k, nil
}

// edges are the moments at which something about the key changes by itself.
func (k key) edges() []time.Duration {
	return []time.Duration{k.leaseEnd, k.expires, k.refusedUntil, k.floorUntil}
}

func judge(legal bool, err error) error {
	switch {
	case legal && err != nil:
		return errors.New("it must succeed")
	case !legal && !errors.Is(err, driver.ErrLost):
		return errors.New("it must be lost")
	default:
		return nil
	}
}
