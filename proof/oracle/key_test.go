package oracle

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/oncehttp"
)

// readAs is what RFC 9651 makes of a header field that is one string, parameters left out.
func readAs(lines ...string) (text string, ok bool) {
	item, err := httpsfv.UnmarshalItem(lines)
	if err != nil {
		return "", false
	}
	text, ok = item.Value.(string)
	return text, ok
}

// A quoted key is what RFC 9651 calls a string, with these differences:
//   - wider: tabs may surround it, and the values of parameters, which nobody looks at, may be any visible characters but
//     quote, comma and semicolon;
//   - narrower: it has 1 to 255 characters, stands on one line, and has no display strings as parameters.
func quotedKey(value string) (key string, ok bool) {
	key, ok = readAs(loosened(strings.Trim(value, " \t")))
	return key, ok && key != "" && len(key) <= 255
}

// loosened puts 1 for each value of a parameter that is not a string. A string without an end goes to the end.
func loosened(value string) string {
	return stringOrValue.ReplaceAllStringFunc(value, func(part string) string {
		if part[0] == '=' {
			return "=1"
		}
		return part
	})
}

var stringOrValue = regexp.MustCompile(`(?s)"(?:[^"\\]|\\.)*(?:"|\\?$)|=[!#-+\--:<-~]+`)

// A bare key is not in RFC 9651, which would read a token, a number or nothing at all. Most clients send one.
var bareKey = regexp.MustCompile(`^[!#-+\--:<-~]{1,255}$`)

// checkKey compares one value with the two grammars above.
func checkKey(t *testing.T, value string) {
	t.Helper()
	got, err := oncehttp.ParseKey([]string{value})
	trimmed := strings.Trim(value, " \t")
	if !strings.HasPrefix(trimmed, `"`) {
		check.Equal(t, err == nil, bareKey.MatchString(trimmed), "whether the bare key %q is accepted (%v)", value, err)
		check.True(t, err != nil || got == trimmed, "the bare key %q is read as %q", value, got)
		return
	}
	want, ok := quotedKey(value)
	check.Equal(t, err == nil, ok, "whether %q is accepted (%v); loosened: %q", value, err, loosened(trimmed))
	check.True(t, err != nil || got == want, "%q is read as %q, by RFC 9651 as %q", value, got, want)

	// The same without the loosening, so that a mistake in it cannot hide one in the parser.
	if text, ok := readAs(value); ok && text != "" && len(text) <= 255 && !strings.Contains(value, `=%"`) {
		check.Equal(t, got, text, "%q, which is a string of RFC 9651 (%v)", value, err)
	}
}

func FuzzKey(f *testing.F) {
	for _, c := range agreed {
		f.Add(c.value)
	}
	for _, c := range keyDifferences {
		f.Add(c.value)
	}
	f.Fuzz(checkKey)
}

var agreed = []struct{ value, key string }{
	{`"abc"`, "abc"},
	{`  "abc"  `, "abc"},
	{`" a b "`, " a b "},
	{`"a\"b\\c"`, `a"b\c`},
	{`"a,b;c=d"`, "a,b;c=d"},
	{`"abc";v=1;  w;*x-y.z_0="q,;\"";t=?0;d=@1659578233;n=-1.5;b=:aGk=:;k=*a/b:c`, "abc"},
	{`"abc";v;v=2`, "abc"},

	{`"abc`, ""},
	{`"a\bc"`, ""},
	{`"abc"d`, ""},
	{`"abc" ;v`, ""},
	{`"abc";` + "\tv", ""},
	{`"abc";V=1`, ""},
	{`"abc";v=`, ""},
	{`"abc";v= 1`, ""},
	{`"abc";`, ""},
	{`"a", "b"`, ""},
	{"\"a\x7f\"", ""},
	{"\"a\tb\"", ""},
	{`"schlüssel"`, ""},
}

func TestAgreedKeys(t *testing.T) {
	for _, c := range agreed {
		key, _ := oncehttp.ParseKey([]string{c.value})
		check.Equal(t, key, c.key, "key of %q", c.value)
		text, _ := readAs(c.value)
		check.Equal(t, text, c.key, "%q by RFC 9651", c.value)
		checkKey(t, c.value)
	}
}

var keyDifferences = []struct {
	what, value string
	ours        string // empty if it is refused
	theirs      string // empty if it is no string
}{
	{"wider: a bare key", `abc`, "abc", ""},
	{"wider: a bare key that is a number", `4711`, "4711", ""},
	{"wider: a bare key that is nothing", `a=b:c/~!(@)`, "a=b:c/~!(@)", ""},
	{"wider: tabs around it", "\t\"abc\"\t", "abc", ""},
	{"wider: a parameter that is no value", `"abc";v=1.2.3`, "abc", ""},
	{"wider: a parameter that is no byte sequence", `"abc";v=:***:`, "abc", ""},

	{"narrower: empty", `""`, "", ""},
	{"narrower: 256 characters", `"` + strings.Repeat("k", 256) + `"`, "", strings.Repeat("k", 256)},
	// Display strings came with RFC 9651; RFC 8941, to which the draft refers, does not have them.
	{"narrower: a display string as a parameter", `"abc";v=%"f%c3%bc"`, "", "abc"},
}

func TestKeyDifferences(t *testing.T) {
	for _, c := range keyDifferences {
		key, err := oncehttp.ParseKey([]string{c.value})
		check.Equal(t, key, c.ours, "%s: %q (%v)", c.what, c.value, err)
		text, _ := readAs(c.value)
		check.Equal(t, text, c.theirs, "%s: %q by RFC 9651", c.what, c.value)
		checkKey(t, c.value)
	}
	_, empty := readAs(`""`)
	check.True(t, empty, "RFC 9651 knows no empty string any more")

	// RFC 9651 joins lines, which can make one string of two halves.
	halves := []string{`"a`, `b"`}
	text, _ := readAs(halves...)
	check.Equal(t, text, "a, b", "two lines by RFC 9651")
	_, err := oncehttp.ParseKey(halves)
	check.ErrorIs(t, err, oncehttp.ErrKeyRepeated, "two lines")
}

func TestRandomStrings(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	for range 10_000 {
		item := httpsfv.NewItem(randomText(random, 1+random.IntN(255)))
		for n := range random.IntN(4) {
			item.Params.Add(fmt.Sprintf("p%d*", n), randomValue(random))
		}
		value, err := httpsfv.Marshal(item)
		check.NoError(t, err, "seed %d", seed)
		key, err := oncehttp.ParseKey([]string{value})
		check.NoError(t, err, "seed %d: %q", seed, value)
		check.Equal(t, key, item.Value.(string), "seed %d: key of %q", seed, value)
		checkKey(t, damaged(random, value))
	}
}

// randomText has more quotes and backslashes than other characters.
func randomText(random *rand.Rand, length int) string {
	text := make([]byte, length)
	for i := range text {
		if text[i] = byte(' ' + random.IntN('~'-' '+1)); random.IntN(4) == 0 {
			text[i] = `"\;,=`[random.IntN(5)]
		}
	}
	return string(text)
}

func randomValue(random *rand.Rand) any {
	switch random.IntN(6) {
	case 0:
		return randomText(random, random.IntN(20))
	case 1:
		return random.Int64N(1e15)
	case 2:
		return float64(random.IntN(1e6)) / 8
	case 3:
		return []byte(randomText(random, random.IntN(20)))
	case 4:
		return httpsfv.Token("*a/b:c")
	default:
		return random.IntN(2) == 0
	}
}

// damaged replaces, removes or adds a byte.
func damaged(random *rand.Rand, value string) string {
	at, b := random.IntN(len(value)), string([]byte{byte(random.IntN(256))})
	if random.IntN(2) == 0 {
		b = string(`"\;,= `[random.IntN(6)])
	}
	switch random.IntN(3) {
	case 0:
		return value[:at] + b + value[at+1:]
	case 1:
		return value[:at] + value[at+1:]
	default:
		return value[:at] + b + value[at:]
	}
}
