package oncehttp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// What handlers do to a ResponseWriter. The client must not see whether it is ours.
var writers = []struct {
	name  string
	write http.HandlerFunc
}{
	{"nothing", func(http.ResponseWriter, *http.Request) {}},
	{"text", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }},
	{"html is sniffed", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>x</html>")) }},
	{"sniffed over two writes", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<ht"))
		_, _ = w.Write([]byte("ml>x</html>"))
	}},
	{"sniffed before a flush", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<ht"))
		w.(http.Flusher).Flush()
		_, _ = w.Write([]byte("ml>x</html>"))
	}},
	{"no type", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = w.Write([]byte("<html>"))
	}},
	{"encoded is not sniffed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write([]byte("\x1f\x8b"))
	}},
	{"encoding without values", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Encoding"] = nil
		_, _ = w.Write([]byte("<html>"))
	}},
	{"status and headers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/1")
		w.Header().Add("Link", "</a>")
		w.Header().Add("Link", "</b>")
		w.Header().Set("Set-Cookie", "secret")
		w.Header().Set("Cache-Control", "private")
		w.WriteHeader(201)
		_, _ = w.Write([]byte(`{"id":1}`))
	}},
	{"headers after the status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(200)
		w.Header().Set("Etag", `"2"`)
		w.Header().Set("Last-Modified", "never")
		_, _ = w.Write([]byte("x"))
	}},
	{"a second status", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(202)
		w.WriteHeader(500)
	}},
	{"client error", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", 404) }},
	{"redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/there", http.StatusSeeOther) }},
	{"204", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(204)
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
			panic("a body with 204")
		}
	}},
	{"304", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(304)
	}},
	{"103 and 201", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(103)
		w.Header().Del("Link")
		w.WriteHeader(201)
	}},
	{"length", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3000")
		_, _ = w.Write(make([]byte, 3000))
	}},
	{"2048 bytes", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 2048)) }},
	{"100 kB in pieces", func(w http.ResponseWriter, _ *http.Request) {
		for range 100 {
			_, _ = w.Write(make([]byte, 1000))
		}
	}},
	{"more than is kept", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/big")
		_, _ = io.Copy(w, io.LimitReader(zeros{}, 3<<20))
	}},
	{"flushed", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
		}
	}},
	{"flushed first", func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		w.WriteHeader(500)
		_, _ = w.Write([]byte("too late"))
	}},
	{"declared trailers", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Other")
		w.Header().Add("Trailer", "X-Third")
		_, _ = w.Write([]byte("x"))
		w.Header().Set("X-Sum", "1")
		w.Header().Set("X-Third", "3")
	}},
	{"declared trailers around a flush", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Other")
		w.WriteHeader(200)
		w.Header().Set("X-Sum", "1")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Other", "2")
	}},
	{"undeclared trailers after a flush", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("x"))
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
	}},
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// seen is what a client sees of an answer.
type seen struct {
	Interim  []int
	Status   int
	Header   http.Header
	Length   int64
	Transfer []string
	Body     string
	Trailer  http.Header
}

// overTCP sends a request and reads everything up to the end of the connection.
func overTCP(t *testing.T, server *httptest.Server, method, key string) seen {
	t.Helper()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	check.NoError(t, err, "dial")
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "%s / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n"+
		"Idempotency-Key: %s\r\nPrefer: wait=5\r\n\r\n{}", method, key)
	check.NoError(t, err, "request")
	in := bufio.NewReader(conn)
	var interim []int
	for {
		response, err := http.ReadResponse(in, &http.Request{Method: method})
		check.NoError(t, err, "response")
		if response.StatusCode >= 200 {
			s := see(t, response)
			s.Interim = interim
			_, err = in.ReadByte()
			check.ErrorIs(t, err, io.EOF, "after the response")
			return s
		}
		interim = append(interim, response.StatusCode)
	}
}

func overHTTP2(t *testing.T, server *httptest.Server, method, key string) seen {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL, strings.NewReader("{}"))
	check.NoError(t, err, "request")
	r.Header.Set("Idempotency-Key", key)
	r.Header.Set("Prefer", "wait=5")            // the answer to a HEAD may end before its handler does
	r.Header.Set("Accept-Encoding", "identity") // or the client decodes
	transport := server.Client().Transport.(*http.Transport)
	response, err := transport.RoundTrip(r)
	check.NoError(t, err, "response")
	check.Equal(t, response.ProtoMajor, 2, "protocol")
	return see(t, response)
}

func see(t *testing.T, response *http.Response) seen {
	t.Helper()
	body, err := io.ReadAll(response.Body)
	check.NoError(t, err, "body")
	_ = response.Body.Close()
	s := seen{nil, response.StatusCode, response.Header, response.ContentLength, response.TransferEncoding, string(body), response.Trailer}
	s.Header.Del("Date")
	return s
}

func (s seen) without(names ...string) seen {
	s.Header = s.Header.Clone()
	for _, name := range names {
		s.Header.Del(name)
	}
	return s
}

func TestClientsCannotTellTheRecorder(t *testing.T) {
	for _, proto := range []struct {
		name  string
		start func(http.Handler) *httptest.Server
		ask   func(*testing.T, *httptest.Server, string, string) seen
	}{
		{"HTTP1", httptest.NewServer, overTCP},
		{"HTTP2", func(h http.Handler) *httptest.Server {
			s := httptest.NewUnstartedServer(h)
			s.EnableHTTP2, s.TLS = true, &tls.Config{MinVersion: tls.VersionTLS13}
			s.StartTLS()
			return s
		}, overHTTP2},
	} {
		for _, method := range []string{"POST", "HEAD"} {
			for _, c := range writers {
				t.Run(proto.name+"/"+method+"/"+c.name, func(t *testing.T) {
					guard, err := onceward.New(memstore.New(nil), nil)
					check.NoError(t, err, "guard")
					defer guard.Close(context.Background())
					plain := proto.start(c.write)
					defer plain.Close()
					guarded := proto.start(New(guard, SingleTenant, &Options{Methods: []string{"POST", "HEAD"}})(c.write))
					defer guarded.Close()
					compare(t, proto.ask(t, plain, method, "k"), proto.ask(t, guarded, method, "k"),
						proto.ask(t, guarded, method, "k"))
				})
			}
		}
	}
}

// compare compares the answers of the bare handler, the guarded one, and the replay.
func compare(t *testing.T, plain, first, replay seen) {
	t.Helper()
	ours := []string{"Idempotency-Key", "Idempotency-Expires", "Idempotent-Replayed", "Preference-Applied"}
	if plain.Header.Get("Cache-Control") == "" {
		ours = append(ours, "Cache-Control")
		check.Equal(t, first.Header.Get("Cache-Control"), "no-store", "Cache-Control")
	}
	check.Equal(t, first.Header.Get("Idempotency-Key"), "k", "the key, echoed")
	check.Equal(t, first.without(ours...), plain.without(), "first answer, as against the bare handler's")
	if len(plain.Body) > 1<<20 || plain.Header.Get("Location") == "/big" {
		check.Equal(t, replay.Status, 409, "retry of an answer that is not kept")
		return
	}
	check.Equal(t, replay.Header.Get("Idempotent-Replayed"), "true", "Idempotent-Replayed of the replay")
	// A replay knows its length, where a flushed answer did not, and declares trailers in another order.
	secret := append(slices.Clone(ours), "Set-Cookie", "Content-Length", "Trailer")
	first, replay = first.without(secret...), replay.without(secret...)
	first.Length, first.Transfer, first.Interim = replay.Length, replay.Transfer, nil
	check.Equal(t, replay, first, "the replay, as against the first answer")
}

func TestContentLengthThatIsWrong(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "short")
	}, nil)
	check.Equal(t, s.post(t, "/", "k", "{}").body, "short", "first")
	check.Equal(t, s.post(t, "/", "k", "{}").body, "short", "replay")
}

func TestHijack(t *testing.T) {
	var s *service
	s = newService(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		check.NoError(t, err, "hijack")
		check.Equal(t, s.state(t, "/", "k"), "done", "the key, as soon as the connection is the handler's")
		_, err = w.Write([]byte("x"))
		check.ErrorIs(t, err, http.ErrHijacked, "writing after it")
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
		_ = conn.Close()
	}, nil)
	check.Equal(t, s.post(t, "/", "k", "{}").body, "hi", "first")
	retry := s.post(t, "/", "k", "{}")
	check.Equal(t, retry.StatusCode, 409, "retry")
	check.True(t, strings.Contains(retry.body, `"reason":"hijacked"`), "%s", retry.body)
	check.Equal(t, s.runs.Load(), int64(1), "runs")
}

func TestDeadlinesReachTheConnection(t *testing.T) {
	s := newService(t, func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		check.NoError(t, control.SetWriteDeadline(time.Now().Add(time.Hour)), "write deadline")
		check.NoError(t, control.SetReadDeadline(time.Now().Add(time.Hour)), "read deadline")
		check.NoError(t, control.EnableFullDuplex(), "full duplex")
	}, nil)
	check.Equal(t, s.post(t, "/", "k", "{}").StatusCode, 200, "status")
}

// A goroutine that outlives its handler must reach neither the buffers of the next request nor its body.
func TestNothingAfterTheHandler(t *testing.T) {
	var late http.ResponseWriter
	var body io.Reader
	s := newService(t, func(w http.ResponseWriter, r *http.Request) { late, body = w, r.Body }, nil)
	s.post(t, "/", "k", "{}")
	s.Close()
	_, err := late.Write([]byte("x"))
	check.ErrorIs(t, err, errReturned, "write")
	check.ErrorIs(t, late.(*recorder).FlushError(), errReturned, "flush")
	_, _, err = late.(*recorder).Hijack()
	check.ErrorIs(t, err, errReturned, "hijack")
	_, err = body.Read(make([]byte, 1))
	check.ErrorIs(t, err, http.ErrBodyReadAfterClose, "reading the body")
}
