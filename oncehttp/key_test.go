package oncehttp

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
)

func TestParseKey(t *testing.T) {
	long := strings.Repeat("k", 255)
	for _, c := range []struct {
		values []string
		key    string
		err    error
	}{
		{[]string{"abc"}, "abc", nil},
		{[]string{`"abc"`}, "abc", nil},
		{[]string{" abc\t"}, "abc", nil},
		{[]string{`"a b"`}, "a b", nil},
		{[]string{`"a\"b\\c"`}, `a"b\c`, nil},
		{[]string{`"a,b;c"`}, "a,b;c", nil},
		{[]string{`"abc";v=1; *x-y.z ;s="q,;\"";t=?1`}, "", ErrKeyMalformed}, // a space before a semicolon
		{[]string{`"abc";v=1; *x-y.z;s="q,;\"";t=?1`}, "abc", nil},
		{[]string{`a\b`}, `a\b`, nil},
		{[]string{"a=b:c/~!"}, "a=b:c/~!", nil},
		{[]string{long}, long, nil},
		{[]string{`"` + long + `"`}, long, nil},
		{[]string{`"` + strings.Repeat(`\"`, 255) + `"`}, strings.Repeat(`"`, 255), nil},

		{nil, "", ErrKeyMissing},
		{[]string{"a", "a"}, "", ErrKeyRepeated},
		{[]string{"a,b"}, "", ErrKeyListed},
		{[]string{`"a", "b"`}, "", ErrKeyListed},
		{[]string{`"a" ,"b"`}, "", ErrKeyListed},
		{[]string{`"a";x=1,"b"`}, "", ErrKeyListed},
		{[]string{long + "k"}, "", ErrKeyTooLong},
		{[]string{`"` + long + `k"`}, "", ErrKeyTooLong},
		{[]string{""}, "", ErrKeyMalformed},
		{[]string{`""`}, "", ErrKeyMalformed},
		{[]string{`"abc`}, "", ErrKeyMalformed},
		{[]string{`"abc\`}, "", ErrKeyMalformed},
		{[]string{`"a\bc"`}, "", ErrKeyMalformed},
		{[]string{`"abc"d`}, "", ErrKeyMalformed},
		{[]string{`"abc" "d"`}, "", ErrKeyMalformed},
		{[]string{`"abc";`}, "", ErrKeyMalformed},
		{[]string{`"abc";1=2`}, "", ErrKeyMalformed},
		{[]string{`"abc";a=`}, "", ErrKeyMalformed},
		{[]string{`"abc";a="x`}, "", ErrKeyMalformed},
		{[]string{"a b"}, "", ErrKeyMalformed},
		{[]string{`a"b`}, "", ErrKeyMalformed},
		{[]string{"abc;v=1"}, "", ErrKeyMalformed},
		{[]string{"a\tb"}, "", ErrKeyMalformed},
		{[]string{"a\x00b"}, "", ErrKeyMalformed},
		{[]string{"a\x7f"}, "", ErrKeyMalformed},
		{[]string{"\"a\tb\""}, "", ErrKeyMalformed},
		{[]string{"schlüssel"}, "", ErrKeyMalformed},
		{[]string{"\"\xff\""}, "", ErrKeyMalformed},
	} {
		key, err := ParseKey(c.values)
		check.Equal(t, key, c.key, "key of %q", c.values)
		check.ErrorIs(t, err, c.err, "%q", c.values)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"abc", `"abc"`, `"a\"b";x="y,z";q`, "a,b", `"a","b"`, "\x00", `"\\"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		key, err := ParseKey([]string{value})
		if err != nil {
			var known KeyError
			check.True(t, errors.As(err, &known), "%q: %v is no KeyError", value, err)
			check.Equal(t, key, "", "key beside an error")
			return
		}
		check.True(t, len(key) >= 1 && len(key) <= 255, "%q: a key of %d bytes", value, len(key))
		for _, c := range []byte(key) {
			check.True(t, c >= ' ' && c <= '~', "%q: a key with byte %#x", value, c)
		}
		again, err := ParseKey([]string{`"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(key) + `"; p`})
		check.NoError(t, err, "the key of %q, quoted", value)
		check.Equal(t, again, key, "the key of %q, quoted", value)
	})
}

func TestKeyTime(t *testing.T) {
	key := onceward.NewKey("order-")
	made, ok := keyTime(key)
	check.True(t, ok, "no time in %s", key)
	check.True(t, time.Since(made).Abs() < time.Minute, "%s was made at %v", key, made)
	for _, other := range []string{
		"abc", key[:len(key)-1], strings.ReplaceAll(key, "-", "_"), "7e57d004-2b97-4e7a-b45f-5387367791cd",
		"7e57d004-2b97-7e7a-045f-5387367791cd", "7e57d00x-2b97-7e7a-b45f-5387367791cd",
	} {
		_, ok := keyTime(other)
		check.True(t, !ok, "%s tells a time", other)
	}
}
