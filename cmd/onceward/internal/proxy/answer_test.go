package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// An answer that is none leaves a doubt, and no connection.
func TestAnswersThatAreNoneAreInDoubt(t *testing.T) {
	const upgrade = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
	for _, says := range []string{
		upgrade,
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
		"HTTP/1.1 042 What\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 000 What\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 2000 What\r\nContent-Length: 0\r\n\r\n",
	} {
		for _, key := range []string{"k", ""} {
			var calls atomic.Int64
			closed := make(chan struct{}, 1)
			s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
				defer conn.Close()
				if _, err := read(bufio.NewReader(conn)); err == nil {
					calls.Add(1)
				}
				_, _ = io.WriteString(conn, says)
				_, _ = io.Copy(io.Discard, conn)
				closed <- struct{}{}
			}), nil, nil)
			first := s.post(t, "/orders", key, "tea")
			check.Equal(t, first.StatusCode, http.StatusBadGateway, "status after %q", says)
			check.Equal(t, first.code(t), "upstream-failed", "code after %q", says)
			within(t, closed, "the connection to be closed after "+says)
			if key != "" {
				check.Equal(t, s.post(t, "/orders", key, "tea").code(t), "in-doubt", "code of a retry after %q", says)
			}
			check.Equal(t, calls.Load(), int64(1), "calls after %q", says)
		}
	}
}

// What the service tells the proxy is not for the client, wherever it stands.
func TestControlIsRemovedEverywhere(t *testing.T) {
	for _, trailer := range []string{"Trailer: Idempotency-Control, Sum\r\n", ""} {
		s := newSidecar(t, listen(t, func(conn *net.TCPConn) {
			defer conn.Close()
			in := bufio.NewReader(conn)
			for {
				if _, err := read(in); err != nil {
					return
				}
				_, _ = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nIdempotency-Control: retry\r\nLink: </a>\r\n\r\n"+
					"HTTP/1.1 200 OK\r\nIdempotency-Control: final\r\nTransfer-Encoding: chunked\r\n"+trailer+"\r\n"+
					"4\r\nmade\r\n0\r\nIdempotency-Control: final\r\nSum: 42\r\n\r\n")
			}
		}), nil, nil)
		for _, key := range []string{"k", "k", ""} {
			var hints textproto.MIMEHeader
			r := s.request(t, http.MethodPost, "/orders", key, "tea")
			answer := s.do(t, r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(_ int, header textproto.MIMEHeader) error { hints = header; return nil },
			})))
			replayed := answer.Header.Get("Idempotent-Replayed") != ""
			check.True(t, replayed || hints.Get("Link") == "</a>", "the hints did not pass: %v", hints)
			check.Equal(t, hints.Values(headerControl), []string(nil), "control in the hints, key %q", key)
			check.Equal(t, answer.Header.Values(headerControl), []string(nil), "control in the header, key %q", key)
			check.Equal(t, answer.body, "made", "body")
			check.Equal(t, answer.Trailer, http.Header{"Sum": {"42"}}, "trailer, key %q, announced by %q", key, trailer)
		}
	}
}

func TestWordsThatNobodyUnderstandsAreToldOfOnce(t *testing.T) {
	var log bytes.Buffer
	var calls atomic.Int64
	s := newSidecar(t, service(t, &calls, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(headerControl, r.Header.Get("Say"))
	}), nil, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	say := func(key, word string) {
		r := s.request(t, http.MethodPost, "/orders", key, "tea")
		r.Header.Set("Say", word)
		s.do(t, r)
	}
	const complaint = "is not one of final, retry, in-doubt, no-store"
	told := func() int { return strings.Count(log.String(), complaint) }
	for i, word := range []string{"final", "Retry ", "in-doubt", "NO-STORE"} {
		say(fmt.Sprint("known-", i), word)
	}
	say("", "of-the-unguarded")
	check.Equal(t, told(), 0, "complaints about words that are understood: %s", log.String())
	for i, word := range []string{"finale", "Finale", "", strings.Repeat("x", 5000)} {
		say(fmt.Sprint("unknown-", i), word)
	}
	check.Equal(t, told(), 3, "complaints about two words and one of no letters: %s", log.String())
	check.True(t, strings.Contains(log.String(), "word=finale"), "the word is not told: %s", log.String())
	check.True(t, log.Len() < 3000, "a word of 5000 letters is logged in full")
	for i := range 2 * mostWords {
		say(fmt.Sprint("more-", i), fmt.Sprint("word-", i))
	}
	check.Equal(t, told(), mostWords, "complaints about many words")
}
