package record

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

var update = flag.Bool("update", false, "write the golden files: only for a new version, since stores hold records like these")

func TestGolden(t *testing.T) {
	for _, shape := range shapes {
		file := shape.name + ".golden"
		if *update {
			check.NoError(t, os.WriteFile(filepath.Join("testdata", file), Append(nil, &shape.value), 0o600), "%s", file)
		}
		golden, err := fs.ReadFile(os.DirFS("testdata"), file)
		check.NoError(t, err, "%s", file)
		got, err := Decode(golden)
		check.NoError(t, err, "%s", file)
		check.Equal(t, got, shape.value, "%s, decoded", file)
		check.Equal(t, Append(nil, &got), golden, "%s, encoded again", file)
	}
}

// A field that is added to Stored and forgotten in the encoding comes back as zero here.
func TestEveryFieldComesBack(t *testing.T) {
	var s Stored
	n := int64(0)
	distinct(reflect.ValueOf(&s).Elem(), &n)
	check.True(t, n > 30, "only %d fields were filled in", n)
	s.Phase, s.OnCrash, s.Kind = driver.PhaseDone, driver.Rerun, driver.Tombstone

	got, err := Decode(Append(nil, &s))
	check.NoError(t, err, "decode")
	check.Equal(t, got, s, "a record without a zero")
}

// distinct gives each exported field in v another value, and none of them zero.
func distinct(v reflect.Value, n *int64) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				distinct(v.Field(i), n)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			distinct(v.Index(i), n)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		distinct(v.Elem(), n)
	default:
		*n++
		fill(v, *n)
	}
}

func fill(v reflect.Value, n int64) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString(string(rune(0x400 + n)))
	case reflect.Slice:
		v.SetBytes([]byte{byte(n), 0})
	case reflect.Int, reflect.Int64:
		v.SetInt(-n << 20)
	case reflect.Uint64:
		v.SetUint(1<<63 + uint64(n))
	default:
		v.SetUint(uint64(n))
	}
}

func TestAppendKeepsWhatIsThere(t *testing.T) {
	s := doneAnswer()
	alone := Append(nil, &s)
	check.Equal(t, Append([]byte("prefix"), &s), append([]byte("prefix"), alone...), "behind a prefix")
}

// The record must not change when the store reuses its buffer.
func TestDecodeKeepsNothing(t *testing.T) {
	for _, shape := range shapes {
		buf := Append(nil, &shape.value)
		buf[1]++ // of a later minor version, so that its fields are kept too
		buf = reseal(append(buf[:len(buf)-checksumLen], "later"...))
		s, err := Decode(buf)
		check.NoError(t, err, "%s", shape.name)
		before := Append(nil, &s)
		for i := range buf {
			buf[i] ^= 0xff
		}
		check.Equal(t, Append(nil, &s), before, "%s after its buffer was overwritten", shape.name)
	}
}

func TestLaterMinorVersion(t *testing.T) {
	for _, shape := range shapes {
		b := Append(nil, &shape.value)
		b[1] = minor + 2
		newer := reseal(append(b[:len(b)-checksumLen], "fields nobody here knows"...))

		s, err := Decode(newer)
		check.NoError(t, err, "%s of a later minor version", shape.name)
		check.Equal(t, Append(nil, &s), newer, "%s, written again", shape.name)

		s.Fence++
		changed, err := Decode(Append(nil, &s))
		check.NoError(t, err, "%s, changed", shape.name)
		check.Equal(t, changed, s, "%s, changed", shape.name)

		s.later = later{}
		s.Fence--
		check.Equal(t, s, shape.value, "%s, the fields that are known", shape.name)
	}
}

func TestCheckID(t *testing.T) {
	s := doneAnswer()
	check.NoError(t, s.CheckID(id), "its own id")
	for at := range s.IDTag {
		other := id
		other[at]++
		check.ErrorIs(t, s.CheckID(other), driver.ErrUndecodable, "an id that differs in byte %d", at)
	}
}

// Redis is asked for at most 350 bytes for an answer of 200, its times kept by Redis. Memory is for content: what the
// encoding adds is bounded apart from the labels, which users choose.
func TestSize(t *testing.T) {
	function := doneAnswer()
	function.Labels.Operation, function.Labels.Route, function.Labels.Host = "charge", "", ""
	function.Since, function.LeaseEnd, function.Gone = 0, 0, 0
	size := len(Append(nil, &function))
	t.Logf("done answer of a function: %d bytes", size)
	check.True(t, size <= 350, "%d bytes for the answer of a function", size)

	for _, shape := range shapes {
		s := shape.value
		size := len(Append(nil, &s))
		content := len(s.Owner) + len(s.Labels.KeyTag) + len(s.Labels.ScopeTag) + len(s.Outcome)
		texts := s.texts()
		for _, text := range texts {
			content += len(*text)
		}
		if s.OutcomeNote != nil {
			content += len(s.OutcomeNote.Reason)
		}
		t.Logf("%s: %d bytes, %d of them content", shape.name, size, content)
		check.True(t, size-content <= 72, "%s adds %d bytes to its content", shape.name, size-content)
	}
}

func reseal(body []byte) []byte { return seal(bytes.Clone(body), 0) }
