package oncehttp

import (
	"encoding/hex"
	"strings"
	"time"
)

// KeyError says what is wrong with a key. Its text is for the client.
type KeyError string

// What can be wrong with a key.
const (
	ErrKeyMissing   KeyError = "the request has no key"
	ErrKeyRepeated  KeyError = "the key header field is there more than once"
	ErrKeyListed    KeyError = "the key header field holds a list; send one key"
	ErrKeyTooLong   KeyError = "the key is longer than 255 characters"
	ErrKeyMalformed KeyError = `a key is 1 to 255 printable ASCII characters: quoted, as in "abc", or bare without space, ` +
		"quote, comma and semicolon"
)

func (e KeyError) Error() string { return "oncehttp: " + string(e) }

const maxKey = 255

// ParseKey reads a key from the values of its header field, one value for each line. The error is a [KeyError].
//
// A key is a string of structured fields (RFC 8941, section 3.3.3), whose parameters are ignored, or the same written
// bare, as most clients do: "abc" and abc are one key. A bare key has no parameters, because cutting abc;1 and abc;2 down
// to abc would make one operation of two. Display strings, which RFC 9651 added, are not read as parameters.
func ParseKey(values []string) (string, error) {
	switch len(values) {
	case 0:
		return "", ErrKeyMissing
	case 1:
	default:
		return "", ErrKeyRepeated
	}
	value := strings.Trim(values[0], " \t")
	var key, rest string
	var err error
	if strings.HasPrefix(value, `"`) {
		if key, rest, err = quoted(value); err == nil {
			err = parameters(rest)
		}
	} else {
		key, err = value, bare(value)
	}
	switch {
	case err != nil:
		return "", err
	case key == "":
		return "", ErrKeyMalformed
	case len(key) > maxKey:
		return "", ErrKeyTooLong
	default:
		return key, nil
	}
}

func bare(s string) error {
	for i := range len(s) {
		switch c := s[i]; {
		case c == ',':
			return ErrKeyListed
		case c <= ' ' || c > '~' || c == '"' || c == ';':
			return ErrKeyMalformed
		}
	}
	return nil
}

// quoted reads the string that s begins with and returns it without escapes, and what follows.
func quoted(s string) (text, rest string, err error) {
	var unescaped []byte // only if there are escapes
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' && unescaped == nil:
			return s[1:i], s[i+1:], nil
		case c == '"':
			return string(unescaped), s[i+1:], nil
		case c == '\\':
			if unescaped == nil {
				unescaped = append(make([]byte, 0, len(s)), s[1:i]...)
			}
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return "", "", ErrKeyMalformed
			}
			unescaped = append(unescaped, s[i])
		case c < ' ' || c > '~':
			return "", "", ErrKeyMalformed
		case unescaped != nil:
			unescaped = append(unescaped, c)
		}
	}
	return "", "", ErrKeyMalformed
}

// parameters checks what follows a quoted key (RFC 9651, section 4.2.3.2).
func parameters(s string) error {
	for s != "" {
		if strings.TrimLeft(s, " \t")[0] == ',' {
			return ErrKeyListed
		}
		if s[0] != ';' {
			return ErrKeyMalformed
		}
		s = strings.TrimLeft(s[1:], " ")
		name := span(s, func(c byte) bool {
			return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("_-.*", c) >= 0
		})
		if name == 0 || s[0] != '*' && (s[0] < 'a' || s[0] > 'z') {
			return ErrKeyMalformed
		}
		s = s[name:]
		if s == "" || s[0] != '=' {
			continue
		}
		if s = s[1:]; strings.HasPrefix(s, `"`) {
			var err error
			if _, s, err = quoted(s); err != nil {
				return err
			}
			continue
		}
		value := span(s, func(c byte) bool { return ' ' < c && c <= '~' && strings.IndexByte(`",;`, c) < 0 })
		if value == 0 {
			return ErrKeyMalformed
		}
		s = s[value:]
	}
	return nil
}

// span is how many bytes at the beginning of s are allowed.
func span(s string, allowed func(byte) bool) int {
	for i := range len(s) {
		if !allowed(s[i]) {
			return i
		}
	}
	return len(s)
}

// keyTime is when a key was made, if it ends in a UUID of version 7 (RFC 9562, section 5.7).
func keyTime(key string) (time.Time, bool) {
	const uuid = 36
	if len(key) < uuid {
		return time.Time{}, false
	}
	text := key[len(key)-uuid:]
	if text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' || text[14] != '7' {
		return time.Time{}, false
	}
	digits := []byte(text[:8] + text[9:13] + text[14:18] + text[19:23] + text[24:])
	var u [16]byte
	if _, err := hex.Decode(u[:], digits); err != nil || u[8]>>6 != 0b10 {
		return time.Time{}, false
	}
	var ms int64
	for _, b := range u[:6] {
		ms = ms<<8 | int64(b)
	}
	return time.UnixMilli(ms), true
}
