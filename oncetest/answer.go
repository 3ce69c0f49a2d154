package oncetest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"
)

const (
	replayed = "Idempotent-Replayed"
	mark     = replayed + ": true"
)

// passing are the header fields that describe the connection, the moment or the session, and not what was done. A replay
// need not repeat them. Content-Length is among them because bodies are compared.
var passing = []string{
	"Age", "Authentication-Info", "Connection", "Content-Length", "Date", "Keep-Alive", "Proxy-Authenticate",
	"Proxy-Authentication-Info", "Proxy-Connection", "Retry-After", "Server-Timing", "Set-Cookie", "Trailer",
	"Transfer-Encoding", "Upgrade", "Www-Authenticate",
	replayed, "Idempotency-Expires", "Idempotency-Stored",
}

// answer is what a client got.
type answer struct {
	status  int
	header  http.Header
	trailer http.Header
	body    []byte
}

func (a *answer) marked() bool { return a.header.Get(replayed) == "true" }

// inProgress reports whether the client is to ask again. A stored answer may be a 409 too.
func (a *answer) inProgress() bool { return a.status == http.StatusConflict && !a.marked() }

// send opens a connection of its own, as a client does that has lost one, and sends the request.
func (x *trial) send() (net.Conn, error) {
	dialer := net.Dialer{Timeout: x.Timeout}
	conn, err := dialer.DialContext(x.request.Context(), "tcp", x.server.Listener.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("no connection: %w", err)
	}
	if err = conn.SetDeadline(time.Now().Add(x.Timeout)); err == nil {
		_, err = conn.Write(x.message)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("the request cannot be sent: %w", err)
	}
	return conn, nil
}

// ask sends the request and reads the answer.
func (x *trial) ask() (*answer, error) {
	conn, err := x.send()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	a, err := x.read(bufio.NewReader(conn))
	if err != nil {
		return nil, fmt.Errorf("the client got no answer: %w (does the handler panic, or hang?)", err)
	}
	return a, nil
}

func (x *trial) read(from *bufio.Reader) (*answer, error) {
	for {
		response, err := http.ReadResponse(from, x.request)
		if err != nil {
			return nil, err
		}
		if response.StatusCode < 200 && response.StatusCode != http.StatusSwitchingProtocols {
			continue // informational: the answer follows
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		return &answer{response.StatusCode, response.Header, response.Trailer, body}, err
	}
}

// settle asks until the operation is not in progress any more.
func (x *trial) settle() (*answer, error) {
	const pause = 10 * time.Millisecond // much less than clients are told to wait: nobody is at the other end
	for until := time.Now().Add(x.Timeout); ; time.Sleep(pause) {
		a, err := x.ask()
		if err != nil || !a.inProgress() {
			return a, err
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("after %v the client is still told %s; its operation is stuck, or nobody knows how it ended",
				x.Timeout, status(a))
		}
	}
}

// replays checks that second is the replay of first.
func (x *trial) replays(first, second *answer) {
	if !second.marked() && !x.UnmarkedReplays {
		x.failf("the second answer (%s) lacks %q: the operation probably ran again", status(second), mark)
	}
	x.same(first, second)
}

// same compares all of two answers that should tell the same.
func (x *trial) same(first, second *answer) {
	if first.status != second.status {
		x.failf("the status was %s and then %s: a client that lost the first answer is told something else", status(first),
			status(second))
	}
	if !bytes.Equal(first.body, second.body) {
		x.failf("the body differs: a client that lost the first answer goes on with other data\n  first: %s\n second: %s",
			excerpt(first.body), excerpt(second.body))
	}
	x.sameFields("header", first.header, second.header)
	x.sameFields("trailer", first.trailer, second.trailer)
}

func (x *trial) sameFields(part string, first, second http.Header) {
	names := slices.Concat(slices.Collect(maps.Keys(first)), slices.Collect(maps.Keys(second)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !x.ignored[name] && !slices.Equal(first[name], second[name]) {
			x.failf("the %s field %s differs: a client that reads it after a retry is misled; if none does, name it in "+
				"Options.IgnoreHeaders\n  first: %q\n second: %q", part, name, first[name], second[name])
		}
	}
}

// expect checks that the service treats this key as it treated the first one.
func (x *trial) expect(a *answer) {
	if a.status != x.status {
		x.failf("the answer is %s, and it was %d with another key; either clients are told something else in this case, or the "+
			"operation cannot be carried out several times, which Twice needs", status(a), x.status)
	}
}

// status is the status for people, who want to see why if it is a refusal.
func status(a *answer) string {
	text := fmt.Sprintf("%d %s", a.status, http.StatusText(a.status))
	if a.status >= 400 && len(a.body) > 0 {
		text += ": " + excerpt(a.body)
	}
	return text
}

func excerpt(body []byte) string {
	const most = 200
	if len(body) > most {
		return fmt.Sprintf("%q … (%d bytes)", body[:most], len(body))
	}
	return fmt.Sprintf("%q", body)
}
