// Package canonjson gives equal JSON documents equal bytes.
//
// The form is that of RFC 8785 but for numbers, which stay as written: RFC 8785 reads them as float64, so that
// 9007199254740993 and 9007199254740992 become one number, and whoever hashes the result takes two orders for one. The
// price is that 1.0 and 1 are different documents, which is the safe mistake: a retry by the same client writes the
// same digits again.
//
// The scanner is our own because encoding/json reads different documents as equal: it keeps the last of two members
// with one name, and turns lone surrogates and invalid UTF-8 into U+FFFD. Such documents are refused here.
package canonjson

import "fmt"

// maxDepth is how deep objects and arrays may nest. It bounds the stack, and nobody's order is deeper.
const maxDepth = 512

// Canonicalize returns the canonical form of the one JSON document in src: members sorted by the UTF-16 code units of
// their names, strings with as few escapes as possible, no white space, numbers as written. The result is new and never
// longer than src.
//
// It refuses what is not strictly JSON (RFC 8259), invalid UTF-8, lone surrogates, two members of one object with the
// same name, and nesting deeper than 512. The error says what is wrong and at which byte of src, counted from 0, and
// does not quote the document. Time is linear but for the sorting of each object's names. Safe for concurrent use.
func Canonicalize(src []byte) ([]byte, error) {
	s := scanner{
		src:  src,
		flat: make([]byte, 0, len(src)),
		// The usual document is small, and this is room on the stack.
		pending: make([]member, 0, 16),
		objects: make([]object, 0, 8),
		members: make([]member, 0, 16),
	}
	s.token()
	if err := s.value(0); err != nil {
		return nil, err
	}
	if s.token(); s.pos < len(src) {
		return nil, s.unexpected()
	}
	return s.ordered(), nil
}

// scanner reads src once and writes flat, which is the canonical form except for the order of members. Moving members
// while scanning would copy the innermost ones once for each level around them; so it notes where they are in flat, and
// ordered copies each byte once.
type scanner struct {
	src  []byte
	pos  int
	flat []byte
	// text holds names that were written with escapes, without them.
	text []byte
	// pending are the members read so far of the objects that are not closed, those of the innermost last.
	pending []member
	// objects are those that ordered has to look at, in the order in which they begin.
	objects []object
	// members are those of objects, sorted.
	members []member
}

// value reads one value that begins at pos.
func (s *scanner) value(depth int) error {
	switch s.peek() {
	case '{':
		return s.object(depth + 1)
	case '[':
		return s.array(depth + 1)
	case '"':
		mark := len(s.text)
		_, err := s.str()
		s.text = s.text[:mark] // only names are needed later
		return err
	case 't':
		return s.literal("true")
	case 'f':
		return s.literal("false")
	case 'n':
		return s.literal("null")
	default:
		return s.number()
	}
}

func (s *scanner) array(depth int) error {
	if depth > maxDepth {
		return fail(s.pos, "nested too deep")
	}
	s.keep('[')
	if s.token() == ']' {
		s.keep(']')
		return nil
	}
	for {
		s.token()
		if err := s.value(depth); err != nil {
			return err
		}
		switch s.token() {
		case ',':
			s.keep(',')
		case ']':
			s.keep(']')
			return nil
		default:
			return s.unexpected()
		}
	}
}

func (s *scanner) object(depth int) error {
	if depth > maxDepth {
		return fail(s.pos, "nested too deep")
	}
	index, mark := len(s.objects), len(s.pending)
	s.objects = append(s.objects, object{start: len(s.flat)})
	s.keep('{')
	if s.token() == '}' {
		s.keep('}')
		return s.closeObject(index, mark)
	}
	for {
		if err := s.member(depth); err != nil {
			return err
		}
		switch s.token() {
		case ',':
			s.keep(',')
		case '}':
			s.keep('}')
			return s.closeObject(index, mark)
		default:
			return s.unexpected()
		}
	}
}

func (s *scanner) member(depth int) error {
	if s.token() != '"' {
		return s.unexpected()
	}
	m := member{at: s.pos, start: len(s.flat), object: len(s.objects)}
	var err error
	if m.name, err = s.str(); err != nil {
		return err
	}
	if s.token() != ':' {
		return s.unexpected()
	}
	s.keep(':')
	s.token()
	if err = s.value(depth); err != nil {
		return err
	}
	m.end = len(s.flat)
	s.pending = append(s.pending, m)
	return nil
}

func (s *scanner) literal(word string) error {
	for i := range len(word) {
		if s.peek() != word[i] {
			return s.unexpected()
		}
		s.pos++
	}
	s.flat = append(s.flat, word...)
	return nil
}

func (s *scanner) number() error {
	start := s.pos
	if s.peek() == '-' {
		s.pos++
	}
	if s.peek() == '0' {
		s.pos++ // and a digit after it is unexpected wherever the number stands
	} else if !s.digits() {
		return s.unexpected()
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return s.unexpected()
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c = s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.unexpected()
		}
	}
	s.flat = append(s.flat, s.src[start:s.pos]...)
	return nil
}

// digits skips digits and reports whether there was one.
func (s *scanner) digits() bool {
	start := s.pos
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > start
}

// token skips white space and returns the byte at pos, see peek.
func (s *scanner) token() byte {
	for {
		switch c := s.peek(); c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
}

// peek returns the byte at pos. At the end that is 0, which is legal nowhere.
func (s *scanner) peek() byte {
	if s.pos == len(s.src) {
		return 0
	}
	return s.src[s.pos]
}

// keep moves the byte c at pos to flat.
func (s *scanner) keep(c byte) {
	s.pos++
	s.flat = append(s.flat, c)
}

func (s *scanner) unexpected() error {
	if s.pos == len(s.src) {
		return fail(s.pos, "unexpected end")
	}
	return fail(s.pos, fmt.Sprintf("unexpected byte 0x%02x", s.src[s.pos]))
}

func fail(at int, what string) error {
	return fmt.Errorf("JSON: %s at byte %d", what, at)
}
