package oncehttp

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/onceward/onceward"
)

// send gives the client what is recorded, with our header fields and one more if name is not empty.
func (rec *recorder) send(name, value string) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.sendLocked(name, value)
}

func (rec *recorder) sendLocked(name, value string) {
	if !rec.returned {
		rec.complete()
	}
	rec.takeTrailers()
	rec.sent = true
	header := rec.w.Header()
	restore(header, rec.head)
	for _, f := range rec.trailer {
		if strings.HasPrefix(f.name, http.TrailerPrefix) {
			header[f.name] = f.values // before the header goes out, so that net/http chooses chunks
		}
	}
	if name == "" && rec.x.attempt.Number() == 0 {
		name, value = headerStored, "false" // it runs unprotected
	}
	rec.x.mark(header, name, value)
	rec.w.WriteHeader(rec.status)
	rec.forward(rec.buf[bodyAt : bodyAt+int(rec.length)])
	for _, f := range rec.trailer {
		header[f.name] = f.values
	}
}

// encode makes the stored answer, in the buffer that holds the body.
func (rec *recorder) encode() []byte {
	rec.stored = rec.stored[:0]
	for _, f := range rec.head {
		// What a layer outside said, it says again, and perhaps otherwise, to whoever gets the replay.
		if rec.x.stores(f.name) && !slices.Equal(lookup(rec.outer, f.name), f.values) {
			rec.stored = append(rec.stored, f)
		}
	}
	trailer := slices.DeleteFunc(slices.Clone(rec.trailer), func(f field) bool {
		return never[http.CanonicalHeaderKey(strings.TrimPrefix(f.name, http.TrailerPrefix))]
	})
	rec.buf = sealAnswer(rec.buf, rec.status, rec.stored, trailer)
	return rec.buf
}

// withdraw takes the handler's header fields back, for another answer than its own.
func (rec *recorder) withdraw() { restore(rec.w.Header(), rec.outer) }

// FlushError sends what there is, and from now on what is written goes out as it is written. In a transaction it does
// nothing.
func (rec *recorder) FlushError() error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	switch {
	case rec.returned:
		return errReturned
	case rec.hijacked:
		return http.ErrHijacked
	}
	if rec.status == 0 {
		rec.writeHeader(http.StatusOK)
	}
	if rec.x.Transactions != nil {
		return nil
	}
	if !rec.sent {
		rec.sendLocked("", "")
	}
	err := http.NewResponseController(rec.w).Flush()
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		rec.gone = true
		return nil // the handler goes on for those who ask again
	}
	return err
}

// Flush is FlushError for those who do not ask.
func (rec *recorder) Flush() { _ = rec.FlushError() }

// Hijack hands the connection over. What is said on it is not seen here, so the attempt ends now, with a tombstone.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	switch {
	case rec.returned:
		return nil, nil, errReturned
	case rec.hijacked:
		return nil, nil, http.ErrHijacked
	case rec.x.Transactions != nil:
		return nil, nil, errInTransaction
	}
	if rec.status != 0 && !rec.sent {
		rec.sendLocked("", "")
	}
	conn, buffered, err := http.NewResponseController(rec.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	rec.hijacked, rec.sent = true, true
	err = rec.x.attempt.Tombstone(rec.summary("hijacked"))
	if err != nil && !errors.Is(err, onceward.ErrUnavailable) {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, buffered, nil
}

// SetReadDeadline sets the connection's, see http.ResponseController.
func (rec *recorder) SetReadDeadline(t time.Time) error {
	return http.NewResponseController(rec.w).SetReadDeadline(t)
}

// SetWriteDeadline sets the connection's, see http.ResponseController.
func (rec *recorder) SetWriteDeadline(t time.Time) error {
	return http.NewResponseController(rec.w).SetWriteDeadline(t)
}

// EnableFullDuplex has nothing to do: the request's body has been read.
func (rec *recorder) EnableFullDuplex() error { return nil }

// summary is what a tombstone says about an answer that is not kept.
type summary struct {
	Reason   string `json:"reason"`
	Status   int    `json:"status,omitempty"`
	Location string `json:"location,omitempty"`
	// Length and Digest are the body's; the digest is written as in RFC 9530.
	Length int64  `json:"content_length,omitempty"`
	Digest string `json:"digest,omitempty"`
}

func (rec *recorder) summary(reason string) []byte {
	s := summary{Reason: reason, Status: rec.status, Location: first(rec.head, "Location"), Length: rec.length}
	if rec.length > 0 {
		s.Digest = "sha-256=:" + base64.StdEncoding.EncodeToString(rec.digest().Sum(nil)) + ":"
	}
	text, _ := json.Marshal(s) //nolint:errchkjson // strings and numbers always encode
	return text
}

// readSummary is nil for a tombstone that somebody else wrote.
func readSummary(text []byte) json.RawMessage {
	var s summary
	if json.Unmarshal(text, &s) != nil || s.Reason == "" {
		return nil
	}
	text, _ = json.Marshal(s) //nolint:errchkjson // as above; only what we know of goes to the client
	return text
}
