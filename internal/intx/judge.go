package intx

import "github.com/onceward/onceward/driver"

// committed is what the work saw: an absent record where there was nothing, or nothing any more.
func committed[T any](w Work[T], id driver.ID) driver.Record {
	seen := w.Seen()
	if seen.Phase == driver.PhaseAbsent || seen.Left <= 0 {
		return driver.Record{ID: id}
	}
	return seen
}

// judge is the verdict of an Acquire, by the rules of every store. One of them is missing, that an owner who asks again gets
// its key again: a record that runs was begun outside of any transaction, so it is not the session's. A key that is taken
// may be done: its holder then only reads it, as we do.
func judge[T any](w Work[T], id driver.ID, c *driver.Claim) driver.Grant {
	if w.Taken() && committed(w, id).Phase != driver.PhaseDone {
		taken := running(id, c)
		taken.Lease = takenLease
		return driver.Grant{Verdict: driver.Running, Record: taken}
	}
	seen := committed(w, id)
	last := w.Seen()
	switch {
	case seen.Phase == driver.PhaseAbsent && last.Left > 0 && w.SeenOwner() == c.Owner:
		return driver.Grant{Verdict: driver.Lost, Record: seen}
	case seen.Phase == driver.PhaseAbsent:
		return granted(id, c, last.Fence+1, 1)
	case !c.Matches(seen.Fingerprint):
		return driver.Grant{Verdict: driver.Mismatch, Record: seen}
	case seen.Phase == driver.PhaseDone:
		return driver.Grant{Verdict: driver.Done, Record: seen}
	case seen.Lease > 0:
		return driver.Grant{Verdict: driver.Running, Record: seen}
	case seen.Rerunnable():
		return granted(id, c, seen.Fence+1, seen.Attempt+1)
	default:
		return driver.Grant{Verdict: driver.InDoubt, Record: seen}
	}
}

func granted(id driver.ID, c *driver.Claim, fence uint64, attempt int) driver.Grant {
	r := running(id, c)
	r.Fence, r.Attempt, r.Left = fence, attempt, c.DoubtRetain
	r.Lease = c.MaxExecution + c.Lease // its session ends it then, and nobody takes it before
	return driver.Grant{Verdict: driver.Acquired, Record: r}
}

// running is the record of an attempt in a transaction, which stands nowhere. Whatever its policy, nothing is left of it
// if it dies, and the next caller runs: that is [driver.Rerun].
func running(id driver.ID, c *driver.Claim) driver.Record {
	return driver.Record{
		ID: id, Phase: driver.PhaseRunning, Labels: c.Labels, Fingerprint: c.Fingerprint,
		OnCrash: driver.Rerun, MaxAttempts: c.MaxAttempts, MaxExecution: c.MaxExecution, Note: c.Note,
	}
}
