package canonjson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string that begins at pos, writes its shortest form to flat, and returns the text it stands for, which is
// part of src or of s.text.
func (s *scanner) str() ([]byte, error) {
	s.pos++
	mark, run := len(s.text), s.pos // the bytes from run to pos are not in s.text yet
	for s.pos < len(s.src) {
		switch c := s.src[s.pos]; {
		case c == '"':
			return s.closeString(mark, run), nil
		case c == '\\':
			s.text = append(s.text, s.src[run:s.pos]...)
			r, err := s.escape()
			if err != nil {
				return nil, err
			}
			s.text = utf8.AppendRune(s.text, r)
			run = s.pos
		case c < ' ':
			return nil, fail(s.pos, "control character in a string")
		case c < utf8.RuneSelf:
			s.pos++
		default:
			r, size := utf8.DecodeRune(s.src[s.pos:])
			if r == utf8.RuneError && size == 1 {
				return nil, fail(s.pos, "invalid UTF-8")
			}
			s.pos += size
		}
	}
	return nil, s.unexpected()
}

// closeString ends a string whose escapes, if it has any, are in s.text from mark on, and whose bytes from run on are
// not.
func (s *scanner) closeString(mark, run int) []byte {
	text := s.src[run:s.pos]
	s.pos++
	s.flat = append(s.flat, '"')
	if len(s.text) == mark { // no escapes in src, so none are needed
		s.flat = append(s.flat, text...)
	} else {
		s.text = append(s.text, text...)
		text = s.text[mark:]
		s.flat = appendEscaped(s.flat, text)
	}
	s.flat = append(s.flat, '"')
	return text
}

// escape reads an escape sequence that begins at pos.
func (s *scanner) escape() (rune, error) {
	at := s.pos
	s.pos++
	c := s.peek()
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		s.pos = at
		return s.codePoint()
	default:
		return 0, s.unexpected()
	}
	s.pos++
	return rune(c), nil
}

// codePoint reads \uXXXX, or two of them that are a surrogate pair.
func (s *scanner) codePoint() (rune, error) {
	at := s.pos
	r, err := s.codeUnit()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if s.peek() != '\\' {
		return 0, fail(at, "lone surrogate")
	}
	low, err := s.codeUnit()
	if err != nil {
		return 0, fail(at, "lone surrogate")
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, fail(at, "lone surrogate")
	}
	return r, nil
}

// codeUnit reads \uXXXX; the caller has seen the backslash.
func (s *scanner) codeUnit() (rune, error) {
	s.pos++
	if s.peek() != 'u' {
		return 0, s.unexpected()
	}
	s.pos++
	var r rune
	for range 4 {
		digit := rune(s.peek())
		switch {
		case '0' <= digit && digit <= '9':
			digit -= '0'
		case 'a' <= digit && digit <= 'f':
			digit -= 'a' - 10
		case 'A' <= digit && digit <= 'F':
			digit -= 'A' - 10
		default:
			return 0, s.unexpected()
		}
		r = r<<4 | digit
		s.pos++
	}
	return r, nil
}

// appendEscaped appends text with the escapes of RFC 8785, section 3.2.2.2: those that JSON demands, the short ones
// where they exist, the others in lower case.
func appendEscaped(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, `\b`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\f':
			dst = append(dst, `\f`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	return dst
}
