package storetest

import "fmt"

// rule is one promise of a store.
type rule struct {
	number int
	name   string
	why    string // the promise, and whom it harms when it is broken
	check  func(t *trial)
}

func (r rule) title() string { return fmt.Sprintf("%02d %s", r.number, r.name) }

func (r rule) promise() string {
	return fmt.Sprintf("broken promise: rule %d, %s\n%s", r.number, r.name, r.why)
}

var rules = []rule{
	{1, "one caller acquires",
		`Of many callers who ask for a key at the same moment exactly one acquires it, also over a record that has just
expired. While it runs nobody else does, and after its lease only where the policy of the first Acquire allows another
attempt. Every further winner is an operation that runs twice: a second payment.`,
		oneAcquires},

	{2, "durations by one clock",
		`Durations go down and come back as durations, and only the store's clock judges them. The lease is a field and the
record outlives it: a record that ends with its lease makes a retry run again what may have happened, a lease that
lasts as long as its record blocks a key for days, and an instant from another machine's clock does one or the other.`,
		durationsByOneClock},

	{3, "fences grow",
		`The fences of a key grow with each attempt while any trace of the key is kept, and a Resolve acts only on the fence
that the operator saw. A sink refuses an attempt whose fence is lower than the last one: a fence that falls or repeats
lets a late attempt overwrite a newer one, or an operator end an attempt that they never looked at.`,
		fencesGrow},

	{4, "losing changes nothing",
		`An Acquire that does not win is told why, a wrong fingerprint before anything else, and changes nothing. Otherwise
callers who merely retry keep a dead attempt's lease alive for ever, or get the answer to somebody else's request.`,
		losingChangesNothing},

	{5, "acquire repeated",
		`An Acquire repeated by the running owner succeeds again with the same fence, because its first answer may have been
lost; repeated by an owner that is done, has released, or was resolved away it never does. Refusing the first blocks a
key behind its own owner; granting the second runs an operation that has already ended.`,
		acquireRepeated},

	{6, "only the owner acts",
		`Extend, Complete and Release act only for the attempt that owns the key; everybody else is told lost and the record
stays as it is, byte for byte. Otherwise an attempt that was given up for dead wakes up and overwrites the answer that
clients have already seen, or frees the key under the attempt that followed it.`,
		onlyTheOwnerActs},

	{7, "complete repeated",
		`A Complete repeated with the same outcome succeeds, because its first answer may have been lost, and one outcome never
overwrites another. Otherwise an operation that succeeded is reported as lost, or two clients are told two different
things about one payment.`,
		completeRepeated},

	{8, "release of nothing",
		`Releasing nothing is no error, and the Acquire of that owner that arrives later is refused for two leases, at least
for a minute. A caller that gave up sends Release after an Acquire that may still be on its way: if that one won after
all, the key would be held by nobody and every retry would wait for a ghost.`,
		releaseOfNothing},

	{9, "opaque bytes",
		`Ids, fingerprints and outcomes are opaque (NUL, invalid UTF-8, empty, more than 1 MiB) and come back equal, as do labels and
notes. A store that trims, folds case or takes an empty answer for a missing one mixes up two customers' keys, or runs
again every operation whose answer is empty.`,
		opaqueBytes},

	{10, "slices belong to the caller",
		`Byte slices that are passed in are not kept, and those that are returned belong to the caller. A shared slice lets the
next request's buffer, or a handler that edits its answer, change what everybody after it is told.`,
		slicesBelongToTheCaller},

	{11, "cancelled contexts",
		`A call whose context ends returns promptly, and its step happened wholly or not at all. A call that hangs holds up its
request and the shutdown of its process; half a step is a key that is done without an answer.`,
		cancelledContexts},

	{12, "unavailable means nothing written",
		`ErrUnavailable means refused and nothing written, neither now nor later; after any other unknown error the same call
can be repeated. The caller of a refused Acquire is told that nothing was run and asks again: a record that was
written all the same is held by nobody, and a Complete that was refused and written is two stories about one payment.`,
		unavailableMeansNothingWritten},

	{13, "concurrent use",
		`Every verb is safe for concurrent use: two calls that meet on one key end as if one had come after the other. When the
calls have returned and the store is closed no goroutine of it is left. A server makes thousands of calls at once: a
lost update lets two attempts hold one key, or takes back an outcome that was reported as stored, and one goroutine
left per call ends the process some nights later.`,
		concurrentUse},

	{14, "a full store refuses",
		`A full store refuses new keys and never gives up a live record to make room, and whoever holds a key can still extend,
complete and release it. An evicted record is an operation that runs again, and an outcome that cannot be stored is
one that nobody can replay.`,
		fullStoreRefuses},

	{15, "sweeping",
		`Sweeping removes expired records of the store's own namespace and nothing else, with the condition checked again in
the delete itself, and a list shows nothing but live records. A sweep that removes a record which was acquired a
moment ago lets its operation run twice; one that reaches further deletes the data of another application.`,
		sweeping},

	{16, "durable before answered",
		`No answer leaves before everything that it was read from is durable; a read that met an unsynced write waits for that
sync. Otherwise a client is told that its payment is done, the power fails, the record is gone, and the retry pays
again.`,
		durableBeforeAnswered},

	{17, "giving up is immediate",
		`An owner that gives its lease up (Extend with lease 0) puts the key in doubt at once, or frees it for the next attempt
at once where the policy is rerun. A store that waits for the old lease tells callers that somebody is still at work,
when it is known that nobody is.`,
		givingUpIsImmediate},
	{18, "the trail tells each step once",
		`An audit trail holds one entry for each step of a key, in the order in which they happened, with the note that came with
the step. What changed nothing leaves none: calls that lost, and calls that were repeated because a reply was lost. A
step that is missing hides who ended a doubt and why; one too many, or with another's note, accuses somebody.`,
		trailTellsEachStep},

	{19, "the trail outlives the key",
		`The trail is written in the same atomic step as the transition, so that a power cut keeps both or neither, and it is kept
for its own retention, whatever becomes of the record. It is asked for when the key is long gone: a trail that goes with
its record, or that misses what happened just before the crash, is silent about the one night that matters.`,
		trailOutlivesTheKey},
}
