package record

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/onceward/onceward/driver"
)

// Decode reads what [Append] wrote, and what a node with a later minor version wrote. It keeps nothing of b and may be
// called concurrently. It allocates no more than b is long, whatever lengths b states.
//
// Each error wraps [driver.ErrUndecodable] and names what is wrong and at which byte, but nothing that was stored.
func Decode(b []byte) (Stored, error) {
	body, err := open(b)
	if err != nil {
		return Stored{}, err
	}
	var s Stored
	d := decoder{src: body, at: 2}
	d.fixed(&s)
	d.numbers(&s)
	texts := s.texts()
	d.texts(texts[:])
	if s.OutcomeNote != nil {
		texts := noteTexts(s.OutcomeNote)
		d.texts(texts[:])
	}
	s.Outcome = append([]byte(nil), d.take(d.length("the outcome's length"), "the outcome")...)
	if body[1] > minor {
		s.later = later{minor: body[1], fields: append([]byte(nil), d.src[d.at:]...)}
	} else if d.at < len(d.src) {
		d.fail("nothing more should follow")
	}
	if d.err != nil {
		return Stored{}, d.err
	}
	return s, nil
}

// open checks version and checksum, and returns what the checksum covers. The version comes first: another major version
// may have another checksum.
func open(b []byte) ([]byte, error) {
	switch end := len(b) - checksumLen; {
	case len(b) == 0:
		return nil, undecodable("it is empty", 0)
	case b[0] != major:
		return nil, undecodable(fmt.Sprintf("unknown major version %d", b[0]), 0)
	case end < 2:
		return nil, undecodable("it is cut off", len(b))
	case binary.LittleEndian.Uint32(b[end:]) != crc32.Checksum(b[:end], castagnoli):
		return nil, undecodable("wrong checksum", end)
	default:
		return b[:end], nil
	}
}

func undecodable(what string, at int) error {
	return fmt.Errorf("%w: %s, at byte %d", driver.ErrUndecodable, what, at)
}

// decoder reads src from at on. It never reads past the end; what it returns after a failure is to be thrown away, so that
// callers look at err once.
type decoder struct {
	src []byte
	at  int
	err error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = undecodable(what, d.at)
	}
}

func (d *decoder) fixed(s *Stored) {
	s.Phase = driver.Phase(d.byte(byte(driver.PhaseDone), "phase"))
	s.OnCrash = driver.OnCrash(d.byte(byte(driver.Rerun), "crash policy"))
	s.Kind = driver.Kind(d.byte(byte(driver.Tombstone), "kind of outcome"))
	flags := d.byte(knownFlags, "flags")
	s.GivenUp, s.Resolved = flags&givenUp != 0, flags&resolved != 0
	if flags&ownNote != 0 {
		s.OutcomeNote = new(driver.Note)
	}
	copy(s.IDTag[:], d.take(len(s.IDTag), "the id tag"))
	copy(s.Owner[:], d.take(len(s.Owner), "the owner"))
	copy(s.Labels.KeyTag[:], d.take(len(s.Labels.KeyTag), "the key tag"))
	copy(s.Labels.ScopeTag[:], d.take(len(s.Labels.ScopeTag), "the scope tag"))
}

func (d *decoder) numbers(s *Stored) {
	s.Fence = d.uvarint("the fence")
	s.Attempt = d.int("the attempt")
	s.MaxAttempts = d.int("the max attempts")
	s.MaxExecution = d.duration("the max execution")
	s.Lease = d.duration("the lease")
	s.Retain = d.duration("the retention")
	s.DoubtRetain = d.duration("the doubt retention")
	s.Since = d.varint("the begin")
	s.LeaseEnd = d.varint("the lease's end")
	s.Gone = d.varint("the record's end")
}

func (d *decoder) texts(into []*string) {
	var lengths [textCount]int
	total := 0
	for i := range into {
		lengths[i] = d.length("a text's length")
		total += lengths[i]
	}
	all := string(d.take(total, "the texts"))
	if d.err != nil {
		return
	}
	for i, text := range into {
		*text, all = all[:lengths[i]], all[lengths[i]:]
	}
}

// take returns the next n bytes, or none.
func (d *decoder) take(n int, what string) []byte {
	if n > len(d.src)-d.at {
		d.fail("cut off in " + what)
		return nil
	}
	d.at += n
	return d.src[d.at-n : d.at]
}

// byte returns the next one, which is at most last.
func (d *decoder) byte(last byte, what string) byte {
	b := d.take(1, what)
	if len(b) == 0 {
		return 0
	}
	if b[0] > last {
		d.at--
		d.fail("unknown " + what)
		return 0
	}
	return b[0]
}

func (d *decoder) uvarint(what string) uint64 {
	v, n := binary.Uvarint(d.src[d.at:])
	if n <= 0 || n > 1 && d.src[d.at+n-1] == 0 { // cut off, too large, or longer than it need be
		d.fail("no number for " + what)
		return 0
	}
	d.at += n
	return v
}

func (d *decoder) varint(what string) int64 {
	u := d.uvarint(what)
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) int(what string) int {
	from, v := d.at, d.varint(what)
	if int64(int(v)) != v {
		d.at = from
		d.fail("too large a number for " + what)
	}
	return int(v)
}

func (d *decoder) duration(what string) time.Duration {
	from := d.at
	seconds, rest := d.varint(what), d.varint(what)
	v := seconds*int64(time.Second) + rest
	if v/int64(time.Second) != seconds { // it wrapped around, or the rest holds seconds
		d.at = from
		d.fail("no duration for " + what)
	}
	return time.Duration(v)
}

// length is that of something which still follows.
func (d *decoder) length(what string) int {
	from, v := d.at, d.uvarint(what)
	if v > uint64(len(d.src)-d.at) {
		d.at = from
		d.fail(what + " is more than there is")
		return 0
	}
	return int(v)
}
