package oncehttp_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/onceward/onceward/internal/check"
)

var scenariosOfAnswers = []scenario{
	{
		name: "the same answer", http2: true, run: sameAnswer,
		promise: "a retry gets the same status, header and bytes, and learns how long they are kept; what belongs to the " +
			"session, the connection or the moment is not repeated",
	},
	{
		name: "empty answers", run: emptyAnswers,
		promise: "an answer that says little is an answer",
	},
	{
		name: "no content", http2: true, run: noContent,
		promise: "answers without a body, 204 and 304, are replayed without one",
	},
	{
		name: "trailers", http2: true, run: trailers,
		promise: "trailers are a part of the answer",
	},
	{
		name: "compression outside", run: compressedOutside,
		promise: "compression outside compresses each answer as its own request accepts it",
	},
	{
		name: "compression inside", run: compressedInside,
		promise: "compression inside is a part of the answer, which says how it is encoded and what it varies with",
	},
}

func sameAnswer(x *trial) {
	s := x.serve(setup{}, func(_ *service, w http.ResponseWriter, _ *http.Request, _ int) {
		h := w.Header()
		h.Set("Location", thePath+"/1")
		h.Set("Etag", `"1"`)
		h.Set("Cache-Control", "private")
		h.Set("Content-Type", "application/octet-stream")
		h.Add("Link", "</a>; rel=up")
		h.Add("Link", "</b>; rel=next")
		h.Set("Set-Cookie", "session="+canary)
		h.Set("Date", "Thu, 01 Jan 1970 00:00:00 GMT")
		h.Set("Www-Authenticate", "Basic")
		h.Set("Retry-After", "7")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte{0, 0xff, '\r', '\n', 0x80})
	})
	first := s.post()
	check.Equal(x, first.header.Get("Set-Cookie"), "session="+canary, "Set-Cookie of the first answer")
	again := s.post()
	s.ran(1)
	s.replays(again, first)
	for _, name := range []string{"Set-Cookie", "Www-Authenticate", "Retry-After"} {
		check.Equal(x, again.header.Get(name), "", "%s of the replay", name)
	}
	check.True(x, again.header.Get("Date") != first.header.Get("Date"), "the Date of the first answer is replayed")
	for _, r := range []reply{first, again} {
		expires, err := http.ParseTime(r.header.Get("Idempotency-Expires"))
		check.NoError(x, err, "Idempotency-Expires")
		check.True(x, time.Until(expires) > 23*time.Hour, "the answer is kept until %v", expires)
	}
}

func emptyAnswers(x *trial) {
	for _, body := range []string{"", "0", "false", "null", `""`, "{}", "[]"} {
		s := x.serve(setup{}, func(_ *service, w http.ResponseWriter, _ *http.Request, _ int) {
			_, _ = io.WriteString(w, body)
		})
		first := s.post()
		again := s.post()
		s.ran(1)
		check.True(x, again.status == http.StatusOK && again.body == body, "the answer %q is replayed as %d %q", body, again.status, again.body)
		s.replays(again, first)
	}
}

func noContent(x *trial) {
	for _, status := range []int{http.StatusNoContent, http.StatusNotModified} {
		s := x.serve(setup{}, func(_ *service, w http.ResponseWriter, _ *http.Request, _ int) {
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(status)
		})
		first := s.post()
		check.Equal(x, first.status, status, "status")
		again := s.post()
		s.ran(1)
		s.replays(again, first)
		for _, r := range []reply{first, again} {
			check.Equal(x, r.header.Get("Content-Length")+r.header.Get("Content-Type"), "", "length and type of nothing")
		}
	}
}

func trailers(x *trial) {
	s := x.serve(setup{}, func(_ *service, w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Trailer", "Checksum")
		_, _ = io.WriteString(w, "paid")
		w.Header().Set("Checksum", "1")
		w.Header().Set(http.TrailerPrefix+"Duration", "2")
	})
	first := s.post()
	again := s.post()
	s.ran(1)
	check.Equal(x, first.trailer, http.Header{"Checksum": {"1"}, "Duration": {"2"}}, "trailers")
	s.replays(again, first)
}

// compressed is what many services put around their handlers.
func compressed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Vary", "Accept-Encoding")
		if !strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			next.ServeHTTP(w, r)
			return
		}
		z := gzip.NewWriter(w)
		defer z.Close()
		next.ServeHTTP(&compressor{w, z}, r)
	})
}

type compressor struct {
	http.ResponseWriter

	z *gzip.Writer
}

func (c *compressor) WriteHeader(status int) {
	c.Header().Set("Content-Encoding", "gzip")
	c.Header().Del("Content-Length")
	c.ResponseWriter.WriteHeader(status)
}

func (c *compressor) Write(p []byte) (int, error) { return c.z.Write(p) }

func uncompressed(x *trial, r reply) string {
	check.Equal(x, r.header.Get("Content-Encoding"), "gzip", "Content-Encoding")
	z, err := gzip.NewReader(strings.NewReader(r.body))
	check.NoError(x, err, "the compressed body")
	body, err := io.ReadAll(z)
	check.NoError(x, err, "the compressed body")
	return string(body)
}

func compressedOutside(x *trial) {
	s := x.serve(setup{outside: compressed}, pay)
	first := s.post("Accept-Encoding", "gzip")
	plain, again := s.post("Accept-Encoding", "identity"), s.post("Accept-Encoding", "gzip")
	s.ran(1)
	check.Equal(x, plain.header.Get("Content-Encoding"), "", "Content-Encoding of an answer that is not compressed")
	check.Equal(x, uncompressed(x, first), plain.body, "the answer, uncompressed")
	s.replays(again, first)
}

func compressedInside(x *trial) {
	s := x.serve(setup{inside: compressed}, pay)
	first := s.post("Accept-Encoding", "gzip")
	other := s.post("Accept-Encoding", "identity")
	s.ran(1)
	s.replays(other, first)
	check.Equal(x, other.header.Get("Vary"), "Accept-Encoding", "Vary")
	check.True(x, strings.HasPrefix(uncompressed(x, other), `{"payment":1,`), "the answer, uncompressed")
}
