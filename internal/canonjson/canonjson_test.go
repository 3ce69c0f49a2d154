package canonjson

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/onceward/onceward/internal/check"
)

var canonical = []struct{ src, want string }{
	{`null`, `null`},
	{` true `, `true`},
	{"\t\r\n false", `false`},
	{`{ "b" : 1 , "a" : [ 2 , { } , [ ] ] }`, `{"a":[2,{},[]],"b":1}`},
	{`{"b":{"d":1,"c":2},"a":{"f":{"h":3,"g":4},"e":5}}`, `{"a":{"e":5,"f":{"g":4,"h":3}},"b":{"c":2,"d":1}}`},
	{`[{"b":1,"a":2},{"a":3},{"d":4,"c":5}]`, `[{"a":2,"b":1},{"a":3},{"c":5,"d":4}]`},
	{`{"a":[{"x":1},{"z":2,"y":3}],"b":{"x":4},"c":0}`, `{"a":[{"x":1},{"y":3,"z":2}],"b":{"x":4},"c":0}`},
	{`{"b":0,"a":{},"":1}`, `{"":1,"a":{},"b":0}`},
	{`{"aa":1,"a":2,"B":3}`, `{"B":3,"a":2,"aa":1}`},

	// The example of RFC 8785, section 3.2.3: U+1F600 is written with surrogates, so it comes before U+FB33.
	{
		`{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}`,
		"{\"\\r\":2,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":1,\"\U0001f600\":5,\"\ufb33\":3}",
	},

	// Numbers as written: equal values, different documents, and no digit is lost.
	{`[0,-0,1,1.0,1e0,1E+0,10e-1]`, `[0,-0,1,1.0,1e0,1E+0,10e-1]`},
	{`[9007199254740993,0.1000000000000000055511151231257827]`, `[9007199254740993,0.1000000000000000055511151231257827]`},
	{`1e999999`, `1e999999`},

	{`"\u0041\/\u00e9\ud83d\ude00"`, "\"A/é\U0001f600\""},
	{`"\u0022\u005c\u0008\u0009\u000a\u000c\u000d\u0000\u001F\u007f"`, `"\"\\\b\t\n\f\r\u0000\u001f` + "\x7f\""},
	{"\"\u2028<>&\ufeff\ufffd\"", "\"\u2028<>&\ufeff\ufffd\""}, // encoding/json would escape some of these
	{`{"\u0062":"\u0062","a\n":"\n"}`, `{"a\n":"\n","b":"b"}`},
}

func TestCanonicalForm(t *testing.T) {
	for _, c := range canonical {
		got, err := Canonicalize([]byte(c.src))
		check.NoError(t, err, "%q", c.src)
		check.Equal(t, string(got), c.want, "the canonical form of %q", c.src)
		again, err := Canonicalize(got)
		check.NoError(t, err, "%q", got)
		check.Equal(t, string(again), c.want, "the canonical form of a canonical form")
	}
}

var refused = []struct{ src, want string }{
	{``, "unexpected end at byte 0"},
	{" \n", "unexpected end at byte 2"},
	{"\xef\xbb\xbf1", "unexpected byte 0xef at byte 0"},
	{"1 2", "unexpected byte 0x32 at byte 2"},
	{"1\x00", "unexpected byte 0x00 at byte 1"},
	{`nul`, "unexpected end at byte 3"},
	{`nulL`, "unexpected byte 0x4c at byte 3"},
	{`nullx`, "unexpected byte 0x78 at byte 4"},
	{`NaN`, "unexpected byte 0x4e at byte 0"},
	{"1\v", "unexpected byte 0x0b at byte 1"},
	{`[1,]`, "unexpected byte 0x5d at byte 3"},
	{`[1 2]`, "unexpected byte 0x32 at byte 3"},
	{`[1`, "unexpected end at byte 2"},
	{`[1}`, "unexpected byte 0x7d at byte 2"},
	{`{`, "unexpected end at byte 1"},
	{`{"a":1,}`, "unexpected byte 0x7d at byte 7"},
	{`{"a"}`, "unexpected byte 0x7d at byte 4"},
	{`{"a":}`, "unexpected byte 0x7d at byte 5"},
	{`{a:1}`, "unexpected byte 0x61 at byte 1"},
	{`{"a":1]`, "unexpected byte 0x5d at byte 6"},

	{`01`, "unexpected byte 0x31 at byte 1"},
	{`-`, "unexpected end at byte 1"},
	{`+1`, "unexpected byte 0x2b at byte 0"},
	{`.5`, "unexpected byte 0x2e at byte 0"},
	{`1.`, "unexpected end at byte 2"},
	{`1.e1`, "unexpected byte 0x65 at byte 2"},
	{`1e`, "unexpected end at byte 2"},
	{`1e+`, "unexpected end at byte 3"},
	{`0x1`, "unexpected byte 0x78 at byte 1"},

	{`"a`, "unexpected end at byte 2"},
	{`"\`, "unexpected end at byte 2"},
	{`"\x"`, "unexpected byte 0x78 at byte 2"},
	{`"\u12"`, "unexpected byte 0x22 at byte 5"},
	{`"\u12`, "unexpected end at byte 5"},
	{"\"\t\"", "control character in a string at byte 1"},
	{"\"a\x00\"", "control character in a string at byte 2"},
	{"\"a\xff\"", "invalid UTF-8 at byte 2"},
	{"\"\xc0\xaf\"", "invalid UTF-8 at byte 1"},
	{"\"\xed\xa0\x80\"", "invalid UTF-8 at byte 1"},
	{"\"\xe2\x82\"", "invalid UTF-8 at byte 1"},
	{`"a\ud800"`, "lone surrogate at byte 2"},
	{`"\udc00"`, "lone surrogate at byte 1"},
	{`"\ud800\ud800"`, "lone surrogate at byte 1"},
	{`"\ud800\n"`, "lone surrogate at byte 1"},
	{`"\ud800\u12"`, "lone surrogate at byte 1"},
	{`"\udc00\ud800"`, "lone surrogate at byte 1"},

	{`{"a":1,"b":2,"a":1}`, "duplicate name at byte 13"},
	{`{"a":1,"\u0061":1}`, "duplicate name at byte 7"},
	{`{"b":1,"a":{"c":1,"c":2}}`, "duplicate name at byte 18"},
	{`{"":1,"":1}`, "duplicate name at byte 6"},
	{"{\"\u00e9\":1,\"\\u00E9\":1}", "duplicate name at byte 8"},
}

func TestRefusals(t *testing.T) {
	for _, c := range refused {
		got, err := Canonicalize([]byte(c.src))
		if err == nil {
			t.Errorf("%q was accepted, as %q", c.src, got)
			continue
		}
		check.Equal(t, err.Error(), "JSON: "+c.want, "the refusal of %q", c.src)
	}
}

func TestDepth(t *testing.T) {
	for _, bracket := range []string{`[]`, `{"a":}`} {
		left, right := bracket[:len(bracket)-1], bracket[len(bracket)-1:]
		nested := func(depth int) []byte {
			return []byte(strings.Repeat(left, depth) + "1" + strings.Repeat(right, depth))
		}
		got, err := Canonicalize(nested(maxDepth))
		check.NoError(t, err, "%d times %s", maxDepth, bracket)
		check.Equal(t, string(got), string(nested(maxDepth)), "nested %s", bracket)

		_, err = Canonicalize(nested(maxDepth + 1))
		check.True(t, err != nil && strings.Contains(err.Error(), "nested too deep"), "one level more: %v", err)
		_, err = Canonicalize(bytes.Repeat([]byte(left), 1<<20))
		check.True(t, err != nil && strings.Contains(err.Error(), "nested too deep"), "a million levels: %v", err)
	}
}

// Names that differ at each position around the bounds where the order of bytes and that of code units part.
func TestOrderOfCodeUnits(t *testing.T) {
	runes := []rune{0, 'a', 0x7f, 0x80, 0x7ff, 0x800, 0xd7ff, 0xe000, 0xfb33, 0xffff, 0x10000, 0x1f600, 0x10ffff}
	var names []string
	for _, r := range runes {
		names = append(names, string(r), "é"+string(r), string(r)+"é", "\U0001f600"+string(r))
	}
	for _, a := range names {
		for _, b := range names {
			want := slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
			got := compareUTF16([]byte(a), []byte(b))
			check.True(t, got*want > 0 || got == want, "%+q against %+q: got %d, want %d", a, b, got, want)
		}
	}
}

func TestSourceIsNotTouched(t *testing.T) {
	src := []byte(`{"b":"\u0061","a":1}`)
	before := bytes.Clone(src)
	got, err := Canonicalize(src)
	check.NoError(t, err, "%s", src)
	clear(got[:cap(got)])
	check.Equal(t, string(src), string(before), "the source after the result was overwritten")
}

func TestFewAllocations(t *testing.T) {
	sorted := []byte(`{"amount":1200,"currency":"EUR","lines":[{"n":1,"sku":"a"},{"n":2,"sku":"b"}],"note":"a\nb"}`)
	check.True(t, allocations(t, sorted) <= 8, "a small document in order: %v allocations", allocations(t, sorted))

	var big []byte
	for range 1000 {
		big = append(big, `,{"sku":"a","n":1}`...)
	}
	big[0] = '['
	big = append(big, ']')
	check.True(t, allocations(t, big) <= 40, "a thousand objects: %v allocations", allocations(t, big))
}

func allocations(t *testing.T, src []byte) float64 {
	t.Helper()
	return testing.AllocsPerRun(10, func() {
		_, err := Canonicalize(src)
		check.NoError(t, err, "%s", src)
	})
}

// Each level moves what is inside it; the time must not be the product of levels and bytes.
func BenchmarkDeepUnsorted(b *testing.B) {
	text := strings.Repeat("x", 1<<20)
	for _, depth := range []int{1, maxDepth} {
		src := []byte(strings.Repeat(`{"b":`, depth) + `"` + text + `"` + strings.Repeat(`,"a":0}`, depth))
		b.Run(fmt.Sprintf("levels=%d", depth), func(b *testing.B) {
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				_, err := Canonicalize(src)
				check.NoError(b, err, "depth %d", depth)
			}
		})
	}
}

func BenchmarkOrder(b *testing.B) {
	src := []byte(`{"order":{"id":"o-1","lines":[{"sku":"a","n":1},{"sku":"b","n":2}]},"amount":1200,"currency":"EUR"}`)
	b.SetBytes(int64(len(src)))
	b.ReportAllocs()
	for b.Loop() {
		_, err := Canonicalize(src)
		check.NoError(b, err, "%s", src)
	}
}
