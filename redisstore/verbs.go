package redisstore

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/redisstore/internal/packed"
)

// Acquire implements [driver.Store].
func (s *Store) Acquire(ctx context.Context, id driver.ID, c driver.Claim) (driver.Grant, error) {
	if err := ended(ctx); err != nil {
		return driver.Grant{}, err
	}
	s.watch.again()
	if g, ok := s.replay(ctx, id, &c); ok {
		return g, nil
	}
	a := s.newCall(id, 256+len(c.Note.Reason))
	a.add(packed.AppendClaim(a.buf, a.key(), &c))
	if err := s.fits(&a, 0, driver.ErrFull); err != nil { // which says nothing about the other keys
		return driver.Grant{}, err
	}
	if s.direct == nil || s.audit != driver.AuditOff {
		return s.acquire(ctx, id, &c, a, s.scripts.acquire)
	}
	a.number(packed.Milliseconds(c.DoubtRetain))
	isNew, err := s.direct.setNew(ctx, a.key(), a.arg(1), a.arg(2))
	switch {
	case isFull(err): // or so: the key may be known
		return s.acquire(ctx, id, &c, a, s.scripts.acquireFull)
	case err != nil:
		return driver.Grant{}, s.failure(err)
	case !isNew:
		return s.acquire(ctx, id, &c, a, s.scripts.acquire)
	}
	s.begun.put(id, packed.Beginning(a.arg(1)))
	return driver.Grant{Verdict: driver.Acquired, Record: fresh(id, &c)}, nil
}

// acquire lets a script judge. The call has the key and the claim.
func (s *Store) acquire(ctx context.Context, id driver.ID, c *driver.Claim, a call, by *script) (g driver.Grant, err error) {
	full := "0"
	if by == s.scripts.acquireFull {
		full = "1"
	}
	a.n = 2
	a.more = append(make([]string, 0, 2+len(c.Also)), full, string(packed.AppendFingerprint(nil, &c.Fingerprint)))
	for _, also := range c.Also {
		a.more = append(a.more, string(packed.AppendFingerprint(nil, &also)))
	}
	s.tell(&a, &c.Note)
	sent := time.Now()
	p, err := s.redis.eval(ctx, by, a)
	switch {
	case isFull(err) && full == "0":
		return s.acquire(ctx, id, c, a, s.scripts.acquireFull)
	case err != nil:
		return g, s.failure(err)
	case p.code < 0:
		return g, refused(id, &a, p.code)
	case p.code < int64(driver.Acquired) || p.code > int64(driver.Lost):
		return g, errStrange
	}
	g.Verdict, g.Record.ID = driver.Verdict(p.code), id
	if !p.found {
		return g, nil
	}
	r, err := read(id, a.key(), p)
	if err != nil {
		return g, err
	}
	g.Record = view(id, &r, p.kept())
	switch {
	case g.Verdict == driver.Acquired && s.audit == driver.AuditOff: // else Complete has to read it
		s.begun.put(id, packed.Beginning(p.value))
	case g.Record.Phase == driver.PhaseDone:
		s.replays.remember(id, a.key(), p.value, &r, p.kept(), sent)
	}
	return g, nil
}

// Extend implements [driver.Store].
func (s *Store) Extend(ctx context.Context, id driver.ID, o driver.Owner, e driver.Extension) error {
	s.begun.take(id)
	a := s.newCall(id, 128)
	a.bytes(o[:])
	a.number(milliseconds(e.Lease))
	a.add(packed.AppendNotes(a.buf, &e.Note, &e.Note))
	s.tell(&a, &e.Note)
	return s.transition(ctx, id, s.scripts.extend, a, 0)
}

// Complete implements [driver.Store].
func (s *Store) Complete(ctx context.Context, id driver.ID, o driver.Owner, out driver.Outcome) error {
	begun := packed.BegunBy(&o, s.begun.take(id))
	life := milliseconds(out.Retain)
	if life == 0 {
		life = begun.Retain()
	}
	a := s.newCall(id, 160+len(begun)+len(out.Bytes))
	a.add(append(a.buf, begun.Mark()...))
	a.add(packed.AppendDone(a.buf, a.key(), begun, &out, life))
	a.number(life)
	a.number(milliseconds(out.Retain))
	s.tell(&a, &out.Note)
	return s.transition(ctx, id, s.scripts.complete, a, len(out.Bytes))
}

// Release implements [driver.Store].
func (s *Store) Release(ctx context.Context, id driver.ID, o driver.Owner, n driver.Note) error {
	s.begun.take(id)
	a := s.newCall(id, 16)
	a.bytes(o[:])
	s.tell(&a, &n)
	return s.transition(ctx, id, s.scripts.release, a, 0)
}

// Resolve implements [driver.Store].
func (s *Store) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	if r.Outcome != nil && r.Outcome.Kind == 0 {
		return fmt.Errorf("%w: redisstore: nothing done: the Outcome of the Resolution has no Kind: use driver.Answer or driver.Tombstone, "+
			"or no Outcome to make the key free", driver.ErrUnavailable)
	}
	defer s.replays.forget(id) // what Redis says of it to this process may come later than its answer
	force := "0"
	if r.Force {
		force = "1"
	}
	a := s.newCall(id, 0)
	a.more = []string{strconv.FormatUint(r.Fence, 10), force, "0"}
	size := 0
	if out := r.Outcome; out != nil {
		size = len(out.Bytes)
		a.more = append(a.more[:2], strconv.Itoa(int(out.Kind)),
			string(packed.AppendOutcome(nil, a.key(), out)), string(packed.AppendNotes(nil, &r.Note, &out.Note)),
			strconv.FormatInt(milliseconds(out.Retain), 10))
	}
	s.tellResolved(&a, &r.Note)
	return s.transition(ctx, id, s.scripts.resolve, a, size)
}

// transition runs a script whose arguments hold an outcome of so many bytes.
func (s *Store) transition(ctx context.Context, id driver.ID, by *script, a call, outcome int) error {
	if err := ended(ctx); err != nil {
		return err
	}
	if err := s.fits(&a, outcome, driver.ErrUnavailable); err != nil {
		return err
	}
	p, err := s.redis.eval(ctx, by, a)
	if err != nil {
		return s.failure(err)
	}
	return refused(id, &a, p.code)
}

// Get implements [driver.Store].
func (s *Store) Get(ctx context.Context, id driver.ID) (driver.Record, error) {
	absent := driver.Record{ID: id}
	if err := ended(ctx); err != nil {
		return absent, err
	}
	a := s.newCall(id, 0)
	p, err := s.redis.eval(ctx, s.scripts.get, a)
	if err != nil {
		return absent, s.failure(err)
	}
	if !p.found {
		return absent, nil
	}
	r, err := read(id, a.key(), p)
	if err != nil {
		return absent, err
	}
	return view(id, &r, p.kept()), nil
}

// read is the record that a script answered.
func read(id driver.ID, key string, p reply) (packed.Record, error) {
	r, err := packed.Decode(key, p.value)
	switch {
	case err != nil:
		return r, unreadable(id, err)
	case p.left < 0:
		return r, noExpiry(id, key)
	default:
		return r, nil
	}
}

// view is the record as callers see it when it is kept for that long.
func view(id driver.ID, r *packed.Record, left time.Duration) driver.Record {
	v := driver.Record{ID: id}
	if r.State == packed.Residue {
		return v
	}
	v.Phase, v.Labels, v.Fingerprint, v.Note = driver.PhaseDone, r.Labels, r.Fingerprint, r.Note
	v.OnCrash, v.Fence = r.OnCrash, r.Fence
	v.Attempt, v.MaxAttempts, v.MaxExecution = r.Attempt, r.MaxAttempts, r.MaxExecution
	past := max(0, r.Life-left)
	v.Left, v.Age = left, r.Elapsed+past
	switch r.State {
	case packed.Running, packed.Awaited: // until more than its length has passed, as the scripts have it
		v.Phase, v.Lease = driver.PhaseRunning, r.Lease-max(0, past-time.Millisecond)
	case packed.GivenUp:
		v.Phase, v.GivenUp = driver.PhaseRunning, true
	default:
		v.Outcome = driver.Outcome{Kind: r.Kind, Bytes: []byte(r.Outcome), Note: r.OutcomeNote}
	}
	return v
}

// fresh is the record of a claim that was granted this moment.
func fresh(id driver.ID, c *driver.Claim) driver.Record {
	return driver.Record{
		ID: id, Phase: driver.PhaseRunning, Labels: c.Labels, Fingerprint: c.Fingerprint, OnCrash: c.OnCrash,
		Fence: 1, Attempt: 1, MaxAttempts: c.MaxAttempts, MaxExecution: c.MaxExecution,
		Lease: c.Lease, Left: c.DoubtRetain, Note: c.Note,
	}
}

// call is the key and the arguments of a call, most of them in one piece of memory, which is not used again: a call that was
// cancelled may still be waiting to be sent.
type call struct {
	buf  []byte
	ends [5]int
	n    int
	more []string // arguments that follow

	trail string // the second key, if there is one
}

func (s *Store) newCall(id driver.ID, room int) call {
	a := call{buf: make([]byte, 0, len(s.prefix)+64+room)}
	a.buf = append(a.buf, s.prefix...)
	a.buf = base64.RawURLEncoding.AppendEncode(a.buf, id[:])
	a.add(append(a.buf, '}'))
	return a
}

// noID is a call that is about no record, with a key that is in the namespace.
func (s *Store) noID() (a call) {
	a.bytes([]byte(s.prefix + "}"))
	return a
}

// add takes the buffer with one more argument at its end.
func (a *call) add(buf []byte) {
	a.buf, a.ends[a.n] = buf, len(buf)
	a.n++
}

func (a *call) bytes(b []byte) { a.add(append(a.buf, b...)) }

func (a *call) number(n int64) { a.add(strconv.AppendInt(a.buf, n, 10)) }

func (a *call) key() string { return a.arg(0) }

func (a *call) arg(i int) string {
	from := 0
	if i > 0 {
		from = a.ends[i-1]
	}
	return rueidis.BinaryString(a.buf[from:a.ends[i]])
}

// milliseconds is d, or 0 when there is none.
func milliseconds(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return packed.Milliseconds(d)
}
