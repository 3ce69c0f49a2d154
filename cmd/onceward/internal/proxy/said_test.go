package proxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// lines are those of a log.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}

// logged is a logger of all, and what it has logged. The standard logger ends there too, as in the binary.
func logged(t *testing.T) (*slog.Logger, lines) {
	t.Helper()
	all := make(lines, 100)
	logger := slog.New(slog.NewTextHandler(all, &slog.HandlerOptions{Level: slog.LevelDebug}))
	before := log.Writer()
	t.Cleanup(func() { log.SetOutput(before) })
	log.SetOutput(Unquoted(logger))
	return logger, all
}

// await returns all lines until one that contains text.
func (l lines) await(t *testing.T, text string) (all string) {
	t.Helper()
	for !strings.Contains(all, text) {
		all += within(t, l, fmt.Sprintf("%q in the log, which has\n%s", text, all))
	}
	return all
}

// canary is what the service says, and nobody else.
const canary = "CANARY"

// says is a service that answers each connection's one request with some text.
func says(t *testing.T, answer string) (to string) {
	t.Helper()
	return listen(t, func(conn *net.TCPConn) {
		defer conn.Close()
		if _, err := read(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, answer)
			_, _ = io.Copy(io.Discard, conn)
		}
	})
}

func TestLogDoesNotQuoteTheService(t *testing.T) {
	const ok, chunked = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	tests := map[string]struct{ to, logged string }{
		"not HTTP":              {says(t, canary+"\r\n\r\n"), "malformed HTTP"},
		"a version":             {says(t, "HTTP/CANARY 200 OK\r\n\r\n"), "malformed HTTP"},
		"a status":              {says(t, "HTTP/1.1 CANARY\r\n\r\n"), "malformed HTTP"},
		"a status out of range": {says(t, "HTTP/1.1 042 CANARY\r\n\r\n"), "status 42"},
		"a field":               {says(t, ok+"Set-Cookie CANARY\r\n\r\n"), "malformed HTTP"},
		"a folded field":        {says(t, ok+" CANARY\r\n\r\n"), "malformed HTTP"},
		"a length":              {says(t, ok+"Content-Length: CANARY\r\n\r\n"), "malformed HTTP"},
		"two lengths":           {says(t, ok+"Content-Length: 1\r\nContent-Length: CANARY\r\n\r\n"), "malformed HTTP"},
		"an encoding":           {says(t, ok+"Transfer-Encoding: CANARY\r\n\r\n"), "malformed HTTP"},
		"a protocol": {says(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: CANARY\r\n\r\n"),
			"was not asked for"},
		"a chunk":             {says(t, chunked+"CANARY\r\n"), "upstream-broke-off"},
		"a trailer":           {says(t, chunked+"0\r\nCANARY\r\n\r\n"), "upstream-broke-off"},
		"more than an answer": {says(t, ok+"Content-Length: 0\r\n\r\n"+ok+"\r\nCANARY"), "it may quote"},
		"GOAWAY": {http2Service(t, "h2c", func(f framer, stream uint32) bool {
			f.frame(frameGoAway, 0, 0, append(binary.BigEndian.AppendUint64(nil, uint64(stream)<<32), canary...)...)
			return false
		}), "HTTP/2: GOAWAY"},
		"an HTTP/2 status": {http2Service(t, "h2c", func(f framer, stream uint32) bool {
			f.status(stream, endStream, canary)
			return true
		}), "HTTP/2: the stream was reset"},
		"RST_STREAM": {http2Service(t, "h2c", func(f framer, stream uint32) bool {
			f.reset(stream, internalError)
			return true
		}), "HTTP/2: the stream was reset"},
	}
	for name, test := range tests {
		for _, key := range []string{"k", ""} {
			logger, lines := logged(t)
			s := newSidecar(t, test.to, nil, &Options{Logger: logger})
			response, err := s.Client().Transport.RoundTrip(s.request(t, http.MethodPost, "/orders", key, "tea"))
			if err == nil {
				_, _ = io.Copy(io.Discard, response.Body)
				_ = response.Body.Close()
			}
			all := lines.await(t, test.logged)
			s.Close()
			close(lines)
			for line := range lines {
				all += line
			}
			check.True(t, !strings.Contains(all, canary), "%s, key %q: the log quotes it:\n%s", name, key, all)
		}
	}
}

// An operator who has got a certificate wrong is told how.
func TestLogTellsWhatIsWrongWithTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	later := func() time.Time { return server.Certificate().NotAfter.Add(time.Hour) }
	for _, c := range [...]struct {
		to     string
		config *tls.Config
		logged string
	}{
		{server.URL, &tls.Config{}, "of an authority that is not known here"},
		{server.URL, &tls.Config{RootCAs: roots, ServerName: "shop.test"}, "not for the host of its URL"},
		{server.URL, &tls.Config{RootCAs: roots, Time: later}, "has expired, or is not valid yet"},
		{"https" + strings.TrimPrefix(says(t, ""), "http"), &tls.Config{}, "connection ended"},
		{server.URL, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS12}, "remote error: tls: "},
		{server.URL, &tls.Config{RootCAs: roots, MaxVersion: tls.VersionTLS11}, "no connection, or no TLS"},
	} {
		logger, lines := logged(t)
		s := newSidecar(t, c.to, nil, &Options{Logger: logger})
		s.proxy.guarded.TLSClientConfig = c.config
		check.Equal(t, s.post(t, "/orders", "k", "tea").code(t), "upstream-unavailable", "code")
		all := lines.await(t, c.logged)
		check.True(t, !strings.Contains(all, "example.com"), "the log has the names in the certificate:\n%s", all)
	}
}
