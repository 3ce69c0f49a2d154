package oracle

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/onceward/onceward/internal/canonjson"
	"github.com/onceward/onceward/internal/check"
)

// Canonical JSON is that of RFC 8785, with these differences:
//   - numbers stay as written, also those that are no float64;
//   - objects and arrays nest at most 512 deep.
//
// Both refuse the same documents otherwise, and write the same bytes.
func checkJSON(t *testing.T, src []byte) {
	t.Helper()
	got, err := canonjson.Canonicalize(src)
	want, theirErr := jcs.Transform(src)
	if err != nil {
		deep := theirErr == nil && depth(want) > 512
		check.True(t, theirErr != nil || deep, "%q is refused (%v), by RFC 8785 it is %q", src, err, want)
		return
	}
	asFloats, numbersErr := floats(got)
	if theirErr != nil {
		check.True(t, numbersErr != nil, "%q is accepted as %q, by RFC 8785 refused: %v", src, got, theirErr)
		return
	}
	check.NoError(t, numbersErr, "the numbers of %q", got)
	check.Equal(t, string(asFloats), string(want), "the canonical form of %q, with its numbers as floats", src)
}

var stringOrNumber = regexp.MustCompile(`(?s)"(?:[^"\\]|\\.)*"|-?[0-9][-+.0-9Ee]*`)

// floats writes the numbers of a canonical document as RFC 8785 does.
func floats(doc []byte) (mapped []byte, err error) {
	mapped = stringOrNumber.ReplaceAllFunc(doc, func(part []byte) []byte {
		if part[0] == '"' {
			return part
		}
		number, parseErr := strconv.ParseFloat(string(part), 64)
		text, formatErr := jcs.NumberToJSON(number)
		err = errors.Join(err, parseErr, formatErr)
		return []byte(text)
	})
	return mapped, err
}

func depth(doc []byte) (deepest int) {
	level := 0
	for _, c := range stringOrNumber.ReplaceAll(doc, nil) {
		switch c {
		case '{', '[':
			level++
			deepest = max(deepest, level)
		case '}', ']':
			level--
		}
	}
	return deepest
}

func FuzzJSON(f *testing.F) {
	for _, src := range []string{
		` true `, `{"b":[1,{}],"a":"\u00e9\/\ud83d\ude00"}`, `{"\ufb33":1,"\ud83d\ude00":2,"€":3}`, `[1.0,1e3,-0,9007199254740993]`,
		`{"a":1,"\u0061":2}`, `"\ud800"`, `"\udc00\ud800"`, "\"\xff\"", `[1 2]`, `[tr ue]`, `[01]`, `[+1]`, `[0x1p-2]`, `[.5]`,
		`[1,]`, `{"a":1,}`, `1e999`, "[\"a\tb\"]", "\"\\u001f\x7f\"", `{"a`, `nul`, "\ufeff1",
	} {
		f.Add([]byte(src))
	}
	f.Fuzz(checkJSON)
}

var jsonDifferences = []struct{ what, src, ours, theirs string }{
	{"a number is not rounded", `9007199254740993`, `9007199254740993`, `9007199254740992`},
	{"a number keeps its form", `[1.0,1e2,-0]`, `[1.0,1e2,-0]`, `[1,100,0]`},
	{"a number may be too large for a float64", `1e999`, `1e999`, ``},
	{"deep nesting", strings.Repeat("[", 513) + strings.Repeat("]", 513), ``, strings.Repeat("[", 513) + strings.Repeat("]", 513)},
}

func TestJSONDifferences(t *testing.T) {
	for _, c := range jsonDifferences {
		ours, _ := canonjson.Canonicalize([]byte(c.src))
		check.Equal(t, string(ours), c.ours, "%s: %s", c.what, c.src)
		theirs, _ := jcs.Transform([]byte(c.src))
		check.Equal(t, string(theirs), c.theirs, "%s: %s by RFC 8785", c.what, c.src)
		checkJSON(t, []byte(c.src))
	}
}

// Numbers are integers that a float64 holds, so that nothing has to be mapped.
func TestRandomDocuments(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for range 3_000 {
		src := randomJSON(random, nil, 5)
		want, err := jcs.Transform(src)
		check.NoError(t, err, "seed %d: RFC 8785 of %q", seed, src)
		got, err := canonjson.Canonicalize(src)
		check.NoError(t, err, "seed %d: %q", seed, src)
		check.Equal(t, string(got), string(want), "seed %d: the canonical form of %q", seed, src)

		at := random.IntN(len(src))
		for _, b := range []byte{byte(random.IntN(256)), `"\{}[],:0ue`[random.IntN(11)]} {
			harmed := bytes.Clone(src)
			harmed[at] = b
			checkJSON(t, harmed)
		}
	}
}

func randomJSON(random *rand.Rand, doc []byte, levels int) []byte {
	kinds := 6
	if levels == 0 {
		kinds = 4
	}
	switch random.IntN(kinds) {
	case 0:
		doc = append(doc, [...]string{"true", "false", "null"}[random.IntN(3)]...)
	case 1, 2:
		doc = randomString(random, doc, 12)
	case 3:
		doc = strconv.AppendInt(doc, random.Int64N(1<<54)-1<<53, 10)
	case 4:
		doc = randomList(random, doc, "[]", func(doc []byte, _ int) []byte {
			return randomJSON(random, doc, levels-1)
		})
	default:
		doc = randomList(random, doc, "{}", func(doc []byte, n int) []byte {
			// The number at the end makes names different, and leaves the order to what stands before.
			doc = randomString(random, doc, 3)
			doc = append(strconv.AppendInt(doc[:len(doc)-1], int64(n), 10), '"')
			doc = append(randomSpace(random, doc), ':')
			return randomJSON(random, randomSpace(random, doc), levels-1)
		})
	}
	return randomSpace(random, doc)
}

func randomList(random *rand.Rand, doc []byte, brackets string, element func([]byte, int) []byte) []byte {
	doc = randomSpace(random, append(doc, brackets[0]))
	for n := range random.IntN(9) {
		if n > 0 {
			doc = append(doc, ',')
		}
		doc = randomSpace(random, element(randomSpace(random, doc), n))
	}
	return append(doc, brackets[1])
}

func randomSpace(random *rand.Rand, doc []byte) []byte {
	for range random.IntN(3) / 2 {
		doc = append(doc, " \t\r\n"[random.IntN(4)])
	}
	return doc
}

// The runes stand around the bounds where escapes are needed, and where the order of bytes and of UTF-16 units differ.
var bounds = []rune{
	0, 1, '\b', '\t', '\n', '\v', '\f', '\r', 0x1f, ' ', '"', '/', '0', 'A', '\\', 'a', 0x7f, 0x80, 0x7ff, 0x800, 0x2028,
	0xd7ff, 0xe000, 0xfb33, 0xfffd, 0xffff, 0x10000, 0x1f600, 0x10ffff,
}

func randomString(random *rand.Rand, doc []byte, most int) []byte {
	doc = append(doc, '"')
	for range random.IntN(most + 1) {
		r := bounds[random.IntN(len(bounds))]
		escaped := r < ' ' || r == '"' || r == '\\' || random.IntN(3) == 0
		switch short := strings.IndexRune("\b\t\n\f\r\"\\/", r); {
		case short >= 0 && escaped && random.IntN(2) == 0:
			doc = append(doc, '\\', `btnfr"\/`[short])
		case escaped && r > 0xffff:
			doc = fmt.Appendf(doc, `\u%04X\u%04x`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		case escaped:
			doc = fmt.Appendf(doc, `\u%04x`, r)
		default:
			doc = append(doc, string(r)...)
		}
	}
	return append(doc, '"')
}
