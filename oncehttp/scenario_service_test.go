package oncehttp_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/onceward/onceward/internal/check"
)

// Everything secret that is sent holds the canary, which must not be in the guard's log.
const (
	canary   = "canary"
	theKey   = "once-" + canary + "-key"
	theBody  = `{"amount":12,"note":"` + canary + `"}`
	theToken = "Bearer " + canary
	thePath  = "/payments"
)

// handler is one run of an operation, the run-th.
type handler func(s *service, w http.ResponseWriter, r *http.Request, run int)

// pay does what most guarded handlers do: it reads what is asked for, takes effect, and says what came of it.
func pay(_ *service, w http.ResponseWriter, r *http.Request, run int) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "cannot read", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", fmt.Sprintf("%s/%d", r.URL.Path, run))
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"payment":%d,"by":%q,"of":%s}`, run, operation(r), body)
}

// operation tells apart what must not meet.
func operation(r *http.Request) string {
	return strings.Join([]string{r.Header.Get("X-Tenant"), r.Method, r.URL.Path, r.Header.Get("Idempotency-Key")}, " ")
}

// service is a handler behind a door on a loopback port. The ledger of its runs is no business of the door's.
type service struct {
	levers

	x      *trial
	ledger *tally
	server *httptest.Server
	client *http.Client
}

func (x *trial) serve(s setup, h handler) *service {
	x.Helper()
	v := &service{x: x, ledger: newTally()}
	var next http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		run := v.ledger.add(operation(r))
		v.ledger.add("run")
		defer v.ledger.add("end")
		h(v, w, r, run)
	})
	if s.inside != nil {
		next = s.inside(next)
	}
	next, v.levers = x.door.open(x, next, s)
	if s.outside != nil {
		next = s.outside(next)
	}
	v.server = httptest.NewUnstartedServer(next)
	v.server.Config.ErrorLog = log.New(io.Discard, "", 0) // handlers panic here
	if x.http2 {
		v.server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: x.door.crowd + 1}
		v.server.EnableHTTP2, v.server.TLS = true, &tls.Config{MinVersion: tls.VersionTLS13}
		v.server.StartTLS()
	} else {
		v.server.Start()
	}
	transport := v.server.Client().Transport.(*http.Transport).Clone()
	transport.DisableCompression = true    // or the client decodes
	transport.DisableKeepAlives = !x.http2 // or it sends a request again when a used connection breaks
	v.client = &http.Client{Transport: transport}
	x.Cleanup(func() {
		for _, g := range x.gates {
			g.open()
		}
		v.server.Close()
		transport.CloseIdleConnections()
	})
	return v
}

// ran ends the scenario unless the handler has run so often.
func (s *service) ran(want int) {
	s.x.Helper()
	got := s.ledger.count("run")
	check.True(s.x, got == want, "the handler ran %d times, want %d", got, want)
}

// reply is what a client got.
type reply struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
	err     error
}

// request is a payment. Fields are names and values of the header; an empty value removes the field.
func (s *service) request(method, path, body string, fields ...string) *http.Request {
	s.x.Helper()
	r, err := http.NewRequestWithContext(s.x.Context(), method, s.server.URL+path, strings.NewReader(body))
	check.NoError(s.x, err, "request")
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", theToken)
	r.Header.Set("Idempotency-Key", theKey)
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
		if fields[i+1] == "" {
			r.Header.Del(fields[i])
		}
	}
	return r
}

// try sends a request and tells also that there was no answer.
func (s *service) try(r *http.Request) reply {
	ctx, cancel := context.WithTimeout(r.Context(), s.x.door.patience)
	defer cancel()
	response, err := s.client.Do(r.WithContext(ctx))
	if err != nil {
		return reply{err: err}
	}
	return readReply(response)
}

func readReply(response *http.Response) reply {
	const most = 4 << 20 // what is larger should have been refused
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, most))
	return reply{response.StatusCode, response.Header, response.Trailer, string(body), err}
}

// start sends a request and does not wait for the answer.
func (s *service) start(r *http.Request) <-chan reply {
	answer := make(chan reply, 1)
	go func() { answer <- s.try(r) }()
	return answer
}

// send sends a request that must be answered.
func (s *service) send(r *http.Request) reply {
	s.x.Helper()
	return s.answered(s.try(r))
}

func (s *service) answered(r reply) reply {
	s.x.Helper()
	check.NoError(s.x, r.err, "%s: no answer", s.x.door.name)
	return r
}

// post sends the payment.
func (s *service) post(fields ...string) reply {
	s.x.Helper()
	return s.send(s.request(http.MethodPost, thePath, theBody, fields...))
}

// text is the payment as bytes on the wire, with more lines of the header.
func text(path, key, lines string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: %s\r\n"+
		"Idempotency-Key: %s\r\nContent-Length: %d\r\n%s\r\n%s", path, theToken, key, len(theBody), lines, theBody)
}

// dial connects to the service, and writes.
func (s *service) dial(first string) *net.TCPConn {
	s.x.Helper()
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	check.NoError(s.x, err, "dial")
	s.x.Cleanup(func() { _ = conn.Close() })
	check.NoError(s.x, conn.SetDeadline(time.Now().Add(s.x.door.patience)), "deadline")
	_, err = io.WriteString(conn, first)
	check.NoError(s.x, err, "write")
	return conn.(*net.TCPConn)
}

// hear reads one answer from the connection.
func (s *service) hear(in *bufio.Reader) reply {
	s.x.Helper()
	response, err := http.ReadResponse(in, &http.Request{Method: http.MethodPost})
	check.NoError(s.x, err, "%s: no answer", s.x.door.name)
	return s.answered(readReply(response))
}

// problem ends the scenario unless the answer is the refusal.
func (s *service) problem(r reply, status int, code string) {
	s.x.Helper()
	check.True(s.x, r.status == status, "the answer is %d %.200q, want %d %s", r.status, r.body, status, code)
	var p struct{ Code string }
	check.NoError(s.x, json.Unmarshal([]byte(r.body), &p), "the refusal %.200q", r.body)
	check.Equal(s.x, p.Code, code, "code of the refusal")
}

// replays ends the scenario unless again is the replay of first: the same answer, and marked.
func (s *service) replays(again, first reply) {
	s.x.Helper()
	s.same(again, first)
	check.Equal(s.x, again.header.Get("Idempotent-Replayed"), "true", "Idempotent-Replayed")
}

// same ends the scenario unless two answers are alike in what belongs to the answer.
func (s *service) same(again, first reply) {
	s.x.Helper()
	check.True(s.x, again.status == first.status, "the answer is %d %.200q, was %d", again.status, again.body, first.status)
	check.Equal(s.x, again.body, first.body, "body of the replay")
	for _, name := range []string{"Location", "Etag", "Content-Type", "Content-Encoding", "Link", "Vary", "Cache-Control"} {
		check.Equal(s.x, again.header[name], first.header[name], "%s of the replay", name)
	}
	check.Equal(s.x, again.trailer, first.trailer, "trailers of the replay")
}
