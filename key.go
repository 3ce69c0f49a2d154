package onceward

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/canonjson"
)

// Key names one operation of one caller. Scope, Operation and Value are its identity and must not be empty.
type Key struct {
	// Scope is whose key it is: the tenant or principal. Keys of different scopes never meet.
	Scope string
	// Operation is the endpoint or function. All of it counts; of what is longer than 1 KiB records show the beginning.
	Operation string
	// Value is what the caller sent, the same for each retry.
	Value string
	// Route and Host are labels for people, not part of the identity.
	Route, Host string
	// TraceID is noted with each step of this attempt, for people who look for it in other systems. It is not part of the
	// identity either, and need not be the same for each retry.
	TraceID string
}

// ID is the hash under which stores keep the key.
func (k Key) ID() driver.ID {
	// Each part is preceded by its length: otherwise ("ab", "c") and ("a", "bc") would be one key.
	buf := make([]byte, 0, 512)
	for _, part := range [...]string{k.Scope, k.Operation, k.Value} {
		buf = binary.AppendUvarint(buf, uint64(len(part)))
		buf = append(buf, part...)
	}
	return sha256.Sum256(buf)
}

func (k Key) validate() error {
	switch {
	case k.Scope == "":
		return errors.New("onceward: empty Key.Scope: say whose key it is, so that two customers' keys never meet")
	case k.Operation == "":
		return errors.New("onceward: empty Key.Operation: name the endpoint or function, so that two operations never meet")
	case k.Value == "":
		return errors.New("onceward: empty Key.Value: send the caller's key, or make one with NewKey or DeriveKey")
	default:
		return nil
	}
}

// mostLabel bounds the texts of a record, of which no store has to take more: a path of megabytes, which one caller can send, would
// be refused like an outage, and open the breaker for everybody.
const mostLabel = 1 << 10

func (k Key) labels() driver.Labels {
	l := driver.Labels{
		KeyHint: redact(k.Value), Operation: bounded(k.Operation, mostLabel),
		Route: bounded(k.Route, mostLabel), Host: bounded(k.Host, mostLabel),
	}
	tag := sha256.Sum256([]byte(k.Value))
	copy(l.KeyTag[:], tag[:])
	tag = sha256.Sum256([]byte(k.Scope))
	copy(l.ScopeTag[:], tag[:])
	return l
}

// redact keeps enough of a key for its owner to recognise it, and too little for anyone else to send it.
func redact(key string) string {
	const shown, least = 4, 16
	if len(key) < least {
		return "…"
	}
	for _, c := range []byte(key[:shown]) {
		if c <= ' ' || c > '~' {
			return "…"
		}
	}
	return key[:shown] + "…"
}

// NewKey makes a key for a new operation: prefix and a UUID of version 7 (RFC 9562), which begins with the time. Make it
// where the operation begins, keep it with the operation, and send it with each retry.
func NewKey(prefix string) string {
	var u [16]byte
	_, _ = rand.Read(u[6:]) // never fails: crypto/rand ends the program instead
	ms := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint32(u[0:], uint32(ms>>16))
	binary.BigEndian.PutUint16(u[4:], uint16(ms))
	u[6] = u[6]&0x0f | 0x70
	u[8] = u[8]&0x3f | 0x80
	text := make([]byte, 0, len(prefix)+36)
	text = append(text, prefix...)
	for i, part := range [...][]byte{u[0:4], u[4:6], u[6:8], u[8:10], u[10:16]} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, part)
	}
	return string(text)
}

// DeriveKey makes a key from what is asked for: prefix and the SHA-256 of payload's canonical JSON. Two wishes with equal
// payloads get one key and are one operation, so use it only where that is what callers mean. An empty payload, or one
// that is not JSON, is an error.
func DeriveKey(prefix string, payload []byte) (string, error) {
	doc, err := canonjson.Canonicalize(payload)
	if err != nil {
		return "", fmt.Errorf("onceward: no key can be derived from the payload: %w", err)
	}
	sum := sha256.Sum256(doc)
	return prefix + hex.EncodeToString(sum[:]), nil
}

// Fingerprint is what makes two requests the same: a sum, and the name of the algorithm that made it.
type Fingerprint = driver.Fingerprint

// FingerprintJSON is the fingerprint of a JSON document by value: the order of members and white space do not matter,
// numbers are compared as written. Duplicate members, invalid UTF-8 and lone surrogates are errors.
func FingerprintJSON(doc []byte) (Fingerprint, error) {
	canonical, err := canonjson.Canonicalize(doc)
	if err != nil {
		return Fingerprint{}, fmt.Errorf("onceward: no fingerprint: %w", err)
	}
	sum := sha256.Sum256(canonical)
	return Fingerprint{Algorithm: "json-sha256/1", Sum: string(sum[:])}, nil
}
