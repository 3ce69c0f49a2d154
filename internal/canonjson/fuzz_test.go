package canonjson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/onceward/onceward/internal/check"
)

func FuzzCanonicalize(f *testing.F) {
	for _, c := range canonical {
		f.Add([]byte(c.src))
	}
	for _, c := range refused {
		f.Add([]byte(c.src))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		got, err := Canonicalize(src)
		check.Equal(t, err == nil, strict(src), "accepted, against a strict reading of %q (error: %v)", src, err)
		if err != nil {
			return
		}
		check.True(t, len(got) <= len(src), "longer than its source: %q", got)
		check.Equal(t, decode(t, got), decode(t, src), "the value of %q", src)

		again, err := Canonicalize(got)
		check.NoError(t, err, "again")
		check.Equal(t, string(again), string(got), "the canonical form of a canonical form")

		other, err := Canonicalize(shuffled(nil, decode(t, src)))
		check.NoError(t, err, "with members in another order")
		check.Equal(t, string(other), string(got), "the same document with members in another order")
	})
}

// strict decides without the code under test what has to be accepted.
func strict(src []byte) bool {
	return json.Valid(src) && utf8.Valid(src) && !loneSurrogate(src) && distinctAndShallow(src)
}

// loneSurrogate looks through valid JSON, where a backslash always begins an escape.
func loneSurrogate(src []byte) bool {
	var pendingHigh bool
	for i := 0; i < len(src); i++ {
		var unit rune
		if src[i] == '\\' {
			i++
			if src[i] == 'u' {
				n, _ := strconv.ParseUint(string(src[i+1:i+5]), 16, 16)
				unit = rune(n)
				i += 4
			}
		}
		low := utf16.IsSurrogate(unit) && unit >= 0xdc00
		if low != pendingHigh {
			return true
		}
		pendingHigh = utf16.IsSurrogate(unit) && !low
	}
	return pendingHigh
}

// distinctAndShallow reports whether no object of valid JSON has a name twice, and none lies too deep.
func distinctAndShallow(src []byte) bool {
	type level struct {
		names map[string]bool // nil in an array
		value bool            // a value comes next
	}
	decoder := json.NewDecoder(bytes.NewReader(src))
	decoder.UseNumber()
	levels := []level{{}}
	for {
		token, err := decoder.Token()
		if err != nil {
			return true
		}
		top := &levels[len(levels)-1]
		if name, ok := token.(string); ok && top.names != nil && !top.value {
			if top.names[name] {
				return false
			}
			top.names[name], top.value = true, true
			continue
		}
		top.value = false
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{names: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, level{})
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
		if len(levels) > maxDepth+1 {
			return false
		}
	}
}

func decode(t *testing.T, src []byte) any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(src))
	decoder.UseNumber()
	var v any
	check.NoError(t, decoder.Decode(&v), "encoding/json")
	return v
}

// shuffled writes v with white space and with members in the order of a map, which changes from run to run.
func shuffled(dst []byte, v any) []byte {
	switch v := v.(type) {
	case map[string]any:
		dst = append(dst, '{')
		for name, member := range v {
			if dst[len(dst)-1] != '{' {
				dst = append(dst, ',')
			}
			dst = append(shuffled(dst, name), " :\n"...)
			dst = append(shuffled(dst, member), '\t')
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, element := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = shuffled(dst, element)
		}
		return append(dst, ']')
	case json.Number:
		return append(dst, v...)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			panic("a decoded " + reflect.TypeOf(v).String() + " cannot be encoded: " + err.Error())
		}
		return append(dst, text...)
	}
}
