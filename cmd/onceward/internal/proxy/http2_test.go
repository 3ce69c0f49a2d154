package proxy

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
)

// Of HTTP/2 (RFC 9113), what a service needs that takes requests and answers as it likes.
const (
	frameData, frameHeaders, frameReset, frameSettings, frameGoAway = 0, 1, 3, 4, 7

	endStream, endHeaders, ack = 1, 4, 1

	noError, protocolError, internalError, streamClosed, refusedStream, cancelled, calm = 0, 1, 2, 5, 7, 8, 11
)

type framer struct{ net.Conn }

func (f framer) frame(kind, flags byte, stream uint32, payload ...byte) {
	head := []byte{0, 0, byte(len(payload)), kind, flags}
	_, _ = f.Write(append(binary.BigEndian.AppendUint32(head, stream), payload...))
}

func (f framer) reset(stream, code uint32) {
	f.frame(frameReset, 0, stream, binary.BigEndian.AppendUint32(nil, code)...)
}

func (f framer) goAway(last, code uint32) {
	f.frame(frameGoAway, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code)...)
}

// ok answers with a bare 200.
func (f framer) ok(stream uint32) { f.frame(frameHeaders, endStream|endHeaders, stream, 0x88) }

// http2Service takes requests over TLS or, if the scheme is h2c, without. React is called with the whole of each; if it
// returns false, the connection is closed.
func http2Service(t *testing.T, scheme string, react func(f framer, stream uint32) bool) (to string) {
	t.Helper()
	serve := func(conn net.Conn) {
		defer conn.Close()
		takeStreams(framer{conn}, react)
	}
	if scheme == "https" {
		return secured(t, true, serve)
	}
	return strings.Replace(listen(t, func(conn *net.TCPConn) { serve(conn) }), "http", "h2c", 1)
}

func takeStreams(f framer, react func(f framer, stream uint32) bool) {
	in := bufio.NewReader(f)
	if _, err := in.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")); err != nil {
		return
	}
	f.frame(frameSettings, 0, 0)
	for {
		var head [9]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
		if _, err := in.Discard(length); err != nil {
			return
		}
		switch kind, flags := head[3], head[4]; {
		case kind == frameSettings && flags&ack == 0:
			f.frame(frameSettings, ack, 0)
		case (kind == frameHeaders || kind == frameData) && flags&endStream != 0:
			if !react(f, binary.BigEndian.Uint32(head[5:])) {
				return
			}
		}
	}
}

// overHTTP2 runs test with both kinds of HTTP/2, and with requests that have a body and that have none.
func overHTTP2(t *testing.T, test func(t *testing.T, scheme, body string)) {
	t.Helper()
	for _, scheme := range []string{"https", "h2c"} {
		for _, body := range []string{"", "tea"} {
			t.Run(fmt.Sprintf("%s, body %q", scheme, body), func(t *testing.T) { test(t, scheme, body) })
		}
	}
}

// net/http sends what has no body again after PROTOCOL_ERROR, whatever its header says. The effect may have taken place,
// after that as after all other ways to break off, but for those that the next test has.
func TestResetStreamIsNotTriedAgain(t *testing.T) {
	ends := map[string]func(f framer, stream uint32) bool{
		"GOAWAY that counts the stream":  func(f framer, stream uint32) bool { f.goAway(stream, noError); return false },
		"GOAWAY with an error":           func(f framer, _ uint32) bool { f.goAway(0, internalError); return false },
		"the connection closes":          func(framer, uint32) bool { return false },
		"an answer that is not one":      func(f framer, stream uint32) bool { f.frame(frameHeaders, endStream|endHeaders, stream); return true },
		"a status that is not a status":  func(f framer, stream uint32) bool { f.status(stream, endStream, "042"); return true },
		"only an informational response": func(f framer, stream uint32) bool { f.status(stream, 0, "103"); return false },
		"GOAWAY after an informational response": func(f framer, stream uint32) bool {
			f.status(stream, 0, "103")
			f.goAway(0, noError)
			return true
		},
		"REFUSED_STREAM after an informational response": func(f framer, stream uint32) bool {
			f.status(stream, 0, "103")
			f.reset(stream, refusedStream)
			return true
		},
	}
	for _, code := range []uint32{noError, protocolError, internalError, streamClosed, cancelled, calm, 99} {
		ends[fmt.Sprintf("RST_STREAM %d", code)] = func(f framer, stream uint32) bool { f.reset(stream, code); return true }
	}
	overHTTP2(t, func(t *testing.T, scheme, body string) {
		for name, end := range ends {
			var calls atomic.Int64
			to := http2Service(t, scheme, func(f framer, stream uint32) bool {
				calls.Add(1)
				return end(f, stream)
			})
			s := newSidecar(t, to, &onceward.Policy{MaxExecution: 5 * time.Second}, nil)
			first := s.post(t, "/orders", "k", body)
			check.Equal(t, first.StatusCode, http.StatusBadGateway, "%s: status", name)
			check.Equal(t, s.post(t, "/orders", "k", body).code(t), "in-doubt", "%s: code of a retry", name)
			check.Equal(t, calls.Load(), int64(1), "%s: calls", name)
		}
	})
}

// status begins an answer, or ends it.
func (f framer) status(stream uint32, flags byte, status string) {
	const named = 8 // :status, with a literal value
	f.frame(frameHeaders, flags|endHeaders, stream, append([]byte{named, byte(len(status))}, status...)...)
}

// The two ways in which a service says that it did nothing (RFC 9113, section 8.7).
func TestStreamsThatWereNotTakenAreFree(t *testing.T) {
	ends := map[string]func(f framer, stream uint32){
		"REFUSED_STREAM":   func(f framer, stream uint32) { f.reset(stream, refusedStream) },
		"a smaller GOAWAY": func(f framer, stream uint32) { f.goAway(stream-2, noError) },
	}
	overHTTP2(t, func(t *testing.T, scheme, body string) {
		for name, end := range ends {
			var calls, refusals atomic.Int64
			to := http2Service(t, scheme, func(f framer, stream uint32) bool {
				if calls.Load() == 1 && refusals.Add(1) == 1 {
					end(f, stream)
				} else {
					calls.Add(1)
					f.ok(stream)
				}
				return true
			})
			s := newSidecar(t, to, nil, nil)
			check.Equal(t, s.post(t, "/orders", "k-1", body).StatusCode, http.StatusOK, "%s: the request before", name)
			refused := s.post(t, "/orders", "k-2", body)
			check.Equal(t, refused.StatusCode, http.StatusServiceUnavailable, "%s: status in %s", name, refused.body)
			check.Equal(t, refused.code(t), "upstream-unavailable", "%s: code", name)
			check.Equal(t, refused.Header.Get("Retry-After"), "1", "%s: when to ask again", name)
			check.Equal(t, refusals.Load(), int64(1), "%s: how often net/http sent it", name)
			check.Equal(t, s.post(t, "/orders", "k-2", body).StatusCode, http.StatusOK, "%s: a retry", name)
			check.Equal(t, calls.Load(), int64(2), "%s: calls", name)
		}
	})
}

func TestReusedHTTP2ConnectionThatDiesIsInDoubt(t *testing.T) {
	overHTTP2(t, func(t *testing.T, scheme, body string) {
		var calls, reused atomic.Int64
		s := newSidecar(t, http2Service(t, scheme, func(f framer, stream uint32) bool {
			if stream == 1 {
				f.ok(stream)
				return true
			}
			calls.Add(1)
			reused.Store(int64(stream))
			return false // it took effect, and the answer never comes
		}), nil, nil)
		check.Equal(t, s.post(t, "/orders", "k-1", body).StatusCode, http.StatusOK, "the request before")
		check.Equal(t, s.post(t, "/orders", "k-2", body).StatusCode, http.StatusBadGateway, "the request on the dying connection")
		check.Equal(t, s.post(t, "/orders", "k-2", body).code(t), "in-doubt", "code of a retry")
		check.Equal(t, calls.Load(), int64(1), "calls")
		check.Equal(t, reused.Load(), int64(3), "the stream, which tells whether the connection was used before")
	})
}

// Over HTTP/2, 101 is a status that says that there will be one, and means nothing.
func TestInformationalSwitchIsNotTheAnswer(t *testing.T) {
	overHTTP2(t, func(t *testing.T, scheme, body string) {
		s := newSidecar(t, http2Service(t, scheme, func(f framer, stream uint32) bool {
			f.status(stream, 0, "101")
			f.ok(stream)
			return true
		}), nil, nil)
		for _, key := range []string{"k", ""} {
			check.Equal(t, s.post(t, "/orders", key, body).StatusCode, http.StatusOK, "status with the key %q", key)
		}
	})
}

func TestH2C(t *testing.T) {
	absent := newSidecar(t, "h2c://"+vacant(t), nil, nil).post(t, "/orders", "k", "tea")
	check.Equal(t, absent.code(t), "upstream-unavailable", "code where nobody listens")

	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	got := make(chan *http.Request, 1)
	server := &http.Server{Protocols: &protocols, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got <- r
	})}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.NoError(t, err, "listening")
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	s := newSidecar(t, "h2c://"+listener.Addr().String()+"/base", nil, nil)
	for _, c := range [...]struct{ method, key, body string }{
		{http.MethodPost, "k-1", ""}, {http.MethodPost, "k-2", "tea"}, {http.MethodPost, "", "tea"}, {http.MethodGet, "", ""},
	} {
		request := s.request(t, c.method, "/orders", c.key, c.body)
		request.Host = "shop.example"
		request.Header.Set("Connection", "Upgrade") // which HTTP/2 has not
		request.Header.Set("Upgrade", "websocket")
		check.Equal(t, s.do(t, request).StatusCode, http.StatusOK, "status of %+v", c)
		r := within(t, got, "the request")
		check.Equal(t, r.Proto, "HTTP/2.0", "protocol of %+v", c)
		check.Equal(t, r.RequestURI, "/base/orders", "target of %+v", c)
		check.Equal(t, r.Host, "shop.example", "host of %+v", c)
		check.Equal(t, r.Header.Get("Idempotency-Key"), c.key, "key of %+v", c)
	}
}
