package oncehttp

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
)

type call struct{ method, target, mediaType, body string }

func fingerprintOf(t *testing.T, f Fingerprint, c call) onceward.Fingerprint {
	t.Helper()
	r := httptest.NewRequest(c.method, c.target, strings.NewReader(c.body))
	r.Header.Set("Content-Type", c.mediaType)
	config, err := newConfig(&Options{SpoolMemory: 1})
	check.NoError(t, err, "config")
	var s spool
	defer s.close()
	check.NoError(t, s.fill(httptest.NewRecorder(), r, config), "spool")
	fp, err := f.of(r, &s)
	check.NoError(t, err, "fingerprint of %v", c)
	return fp
}

func TestFingerprints(t *testing.T) {
	const boundary = "multipart/form-data; boundary="
	part := func(boundary, name, value string) string {
		return "--" + boundary + "\r\nContent-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
	}
	base := call{"POST", "/pay?b=2&a=1&a=0", "application/json", `{"a":1,"b":[1.0],"at":"now"}`}
	with := func(change func(*call)) call { c := base; change(&c); return c }
	bytewise := Fingerprint{Algorithm: bytesAlgorithm}
	for _, c := range []struct {
		name string
		by   Fingerprint
		a, b call
		same bool
	}{
		{"itself", bytewise, base, base, true},
		{"order of parameters", bytewise, base, with(func(c *call) { c.target = "/pay?a=1&a=0&b=2" }), true},
		{"order of one parameter's values", bytewise, base, with(func(c *call) { c.target = "/pay?b=2&a=0&a=1" }), false},
		{"media type's parameters", bytewise, base, with(func(c *call) { c.mediaType = "Application/JSON; charset=utf-8" }), true},
		{"media type", bytewise, base, with(func(c *call) { c.mediaType = "text/plain" }), false},
		{"method", bytewise, base, with(func(c *call) { c.method = "PATCH" }), false},
		{"path", bytewise, base, with(func(c *call) { c.target = "/p%61y?b=2&a=1&a=0" }), false},
		{"white space", bytewise, base, with(func(c *call) { c.body += " " }), false},

		{"white space", ByContent(), base, with(func(c *call) { c.body = " " + c.body }), true},
		{"order of members", ByContent(), base, with(func(c *call) { c.body = `{"b":[1.0],"at":"now","a":1}` }), true},
		{"digits", ByContent(), base, with(func(c *call) { c.body = `{"a":1,"b":[1],"at":"now"}` }), false},
		{"another member", ByContent(), base, with(func(c *call) { c.body = `{"a":1,"b":[1.0],"at":"then"}` }), false},
		{"ignored member", ByContent("at"), base, with(func(c *call) { c.body = `{"a":1,"b":[1.0],"at":"then"}` }), true},
		{"member that is not ignored", ByContent("at"), base, with(func(c *call) { c.body = `{"a":2,"b":[1.0]}` }), false},
		{"not chosen member", ByFields("a"), base, with(func(c *call) { c.body = `{"a":1}` }), true},
		{"chosen member", ByFields("a"), base, with(func(c *call) { c.body = `{"a":2,"b":[1.0],"at":"now"}` }), false},
		{"duplicate members are bytes", ByContent("at"),
			with(func(c *call) { c.body = `{"a":1,"a":2}` }), with(func(c *call) { c.body = `{"a":2,"a":2}` }), false},
		{"not JSON is bytes", ByContent(),
			with(func(c *call) { c.body = `{"a"` }), with(func(c *call) { c.body = ` {"a"` }), false},

		{"form fields", ByContent("at"), call{"POST", "/", "application/x-www-form-urlencoded", "a=%41&b=2&at=1"},
			call{"POST", "/", "application/x-www-form-urlencoded", "b=2&a=A"}, true},
		{"form value", ByContent(), call{"POST", "/", "application/x-www-form-urlencoded", "a=1"},
			call{"POST", "/", "application/x-www-form-urlencoded", "a=2"}, false},
		{"boundary and order", ByContent("at"),
			call{"POST", "/", boundary + "x", part("x", "a", "1") + part("x", "at", "2") + part("x", "b", "3") + "--x--\r\n"},
			call{"POST", "/", boundary + "y", part("y", "b", "3") + part("y", "a", "1") + "--y--\r\n"}, true},
		{"part", ByContent(),
			call{"POST", "/", boundary + "x", part("x", "a", "1") + "--x--\r\n"},
			call{"POST", "/", boundary + "x", part("x", "a", "2") + "--x--\r\n"}, false},
		{"part's name", ByContent(),
			call{"POST", "/", boundary + "x", part("x", "a", "1") + "--x--\r\n"},
			call{"POST", "/", boundary + "x", part("x", "b", "1") + "--x--\r\n"}, false},
	} {
		a, b := fingerprintOf(t, c.by, c.a), fingerprintOf(t, c.by, c.b)
		check.Equal(t, a.Sum == b.Sum, c.same, "%s, %s: same fingerprint", c.by.Algorithm, c.name)
		check.Equal(t, a.Algorithm, c.by.Algorithm, "algorithm")
	}
	check.Equal(t, ByContent("b", "a").Algorithm, "http-content/1 -a -b", "the name of an algorithm tells the fields")
	check.Equal(t, ByFields("a").Algorithm, "http-content/1 +a", "the name of an algorithm tells the fields")
}

// A retry of a request whose key was stored under an older algorithm is still the same request.
func TestChangedFingerprint(t *testing.T) {
	s := newService(t, nil, &Options{})
	first := s.post(t, "/pay", "k", `{"a":1}`)
	check.Equal(t, first.StatusCode, 201, "first")
	s.use(&Options{Fingerprint: ByContent()})
	check.Equal(t, s.post(t, "/pay", "k", `{"a":1}`).StatusCode, 422, "a changed algorithm alone")
	s.use(&Options{Fingerprint: ByContent(), Also: []Fingerprint{{}}})
	again := s.post(t, "/pay", "k", `{"a":1}`)
	check.Equal(t, again.Header.Get("Idempotent-Replayed"), "true", "replayed with the older algorithm")
	check.Equal(t, s.post(t, "/pay", "k", `{"a": 1}`).StatusCode, 422, "another body")
}

func TestBrokenBodyFuncFallsBackToBytes(t *testing.T) {
	broken := Fingerprint{Algorithm: "mine/1", Body: func(*http.Request, io.Reader) ([]byte, error) {
		return nil, errors.New("no")
	}}
	a := fingerprintOf(t, broken, call{"POST", "/", "", "a"})
	b := fingerprintOf(t, broken, call{"POST", "/", "", "b"})
	check.True(t, a.Sum != b.Sum, "two bodies with one fingerprint")
}
