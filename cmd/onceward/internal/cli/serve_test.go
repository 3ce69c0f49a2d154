package cli

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// What the proxy relies on when it says that requests are framed anew.
func TestServerRefusesAmbiguousRequests(t *testing.T) {
	for _, c := range [...]struct {
		name, header string
		want         int
		length       int64
		folded       string
	}{
		{"plain", "Content-Length: 5\r\n", 200, 5, ""},
		{"two lengths", "Content-Length: 5\r\nContent-Length: 6\r\n", 400, 0, ""},
		{"unknown framing", "Transfer-Encoding: xchunked\r\n", 501, 0, ""},
		{"NUL", "X: a\x00b\r\nContent-Length: 5\r\n", 400, 0, ""},
		{"CR", "X: a\rb\r\nContent-Length: 5\r\n", 400, 0, ""},
		{"too large", "X: " + strings.Repeat("a", 64<<10) + "\r\n", 431, 0, ""},
		{"chunks and a length", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 200, -1, ""},
		{"a fold", "Content-Length: 5\r\nX: a\r\n b\r\n", 200, 5, "a b"},
	} {
		var got *http.Request
		s := httptest.NewUnstartedServer(nil)
		s.Config = newServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }),
			slog.New(slog.DiscardHandler))
		s.Start()
		conn, err := net.Dial("tcp", s.Listener.Addr().String())
		check.NoError(t, err, "%s: connecting", c.name)
		_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"+c.header+"\r\n5\r\nhello\r\n0\r\n\r\n")
		check.NoError(t, err, "%s: sending", c.name)
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		check.NoError(t, err, "%s: the answer", c.name)
		_ = response.Body.Close()
		_ = conn.Close()
		s.Close()
		check.Equal(t, response.StatusCode, c.want, "%s: status", c.name)
		if c.want == http.StatusOK {
			check.Equal(t, got.ContentLength, c.length, "%s: length", c.name)
			check.Equal(t, got.Header.Get("X"), c.folded, "%s: X", c.name)
			check.Equal(t, got.Header.Get("Content-Length") == "", c.length < 0, "%s: whether the length is dropped", c.name)
		}
	}
}
