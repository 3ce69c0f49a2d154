package canonjson

import "slices"

// member is a member of an object.
type member struct {
	name       []byte // without escapes
	at         int    // where the name begins in src
	start, end int    // name and value in flat
	object     int    // of the objects that begin in the value, the index of the first, if there are any
}

// object is an object whose members, or those of an object inside it, are not in order.
type object struct {
	start, end  int // in flat
	first, last int // its members
	next        int // the index of the first object that begins after its end
}

// closeObject puts the members after mark in order, and forgets the object if there is nothing in it to reorder: most
// documents come from one encoder that sorts, or are small.
func (s *scanner) closeObject(index, mark int) error {
	own := s.pending[mark:]
	s.pending = s.pending[:mark]
	sorted := slices.IsSortedFunc(own, byName)
	if !sorted {
		slices.SortFunc(own, byName)
	}
	for i := 1; i < len(own); i++ {
		if byName(own[i-1], own[i]) == 0 {
			return fail(max(own[i-1].at, own[i].at), "duplicate name")
		}
	}
	if sorted && len(s.objects) == index+1 {
		s.objects = s.objects[:index]
		return nil
	}
	o := &s.objects[index]
	o.end, o.next = len(s.flat), len(s.objects)
	o.first = len(s.members)
	s.members = append(s.members, own...)
	o.last = len(s.members)
	return nil
}

// ordered returns flat with the members of all objects in order.
func (s *scanner) ordered() []byte {
	if len(s.objects) == 0 {
		return s.flat
	}
	return s.appendOrdered(make([]byte, 0, len(s.flat)), 0, len(s.flat), 0)
}

// appendOrdered appends flat[start:end], in which index is the first object.
func (s *scanner) appendOrdered(dst []byte, start, end, index int) []byte {
	for index < len(s.objects) && s.objects[index].start < end {
		o := s.objects[index]
		dst = append(dst, s.flat[start:o.start]...)
		dst = append(dst, '{')
		for i, m := range s.members[o.first:o.last] {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = s.appendOrdered(dst, m.start, m.end, m.object)
		}
		dst = append(dst, '}')
		start, index = o.end, o.next
	}
	return append(dst, s.flat[start:end]...)
}

func byName(a, b member) int { return compareUTF16(a.name, b.name) }

// compareUTF16 orders valid UTF-8 by its UTF-16 code units, as RFC 8785, section 3.2.3 demands. That is the order of
// the bytes except that U+10000 and above, which begin with a surrogate, come before U+E000 to U+FFFF.
func compareUTF16(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		x, y := a[i], b[i]
		const privateUse, supplementary = 0xee, 0xf0 // the first bytes of U+E000 and of U+10000
		if x >= privateUse && y >= privateUse && (x >= supplementary) != (y >= supplementary) {
			return int(y) - int(x)
		}
		return int(x) - int(y)
	}
	return len(a) - len(b)
}
