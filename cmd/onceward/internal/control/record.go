package control

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/onceward/onceward/driver"
)

// Record is what an operator is told of a key. It never holds the key, its owner or its answer.
type Record struct {
	ID        string `json:"id"`        // 64 hexadecimal digits
	State     string `json:"state"`     // running, in-doubt or done; absent for one that was resolved away
	Operation string `json:"operation"` // for HTTP, method and path
	Route     string `json:"route,omitempty"`
	Host      string `json:"host,omitempty"`
	KeyHint   string `json:"key_hint"`  // the key, redacted
	KeyTag    string `json:"key_tag"`   // 16 hexadecimal digits, see [KeyTag]
	ScopeTag  string `json:"scope_tag"` // the same of the scope

	Attempt      int     `json:"attempt"`
	MaxAttempts  int     `json:"max_attempts"`
	Fence        uint64  `json:"fence"`
	OnCrash      string  `json:"on_crash"` // hold or rerun
	MaxExecution Seconds `json:"max_execution"`

	Age       Seconds `json:"age"`        // since the attempt began or, for done, since it was done
	LeaseLeft Seconds `json:"lease_left"` // negative when the lease is over for so long; 0 for done
	GivenUp   bool    `json:"given_up"`   // its owner said that it cannot say how it ended
	ExpiresIn Seconds `json:"expires_in"`

	Outcome   string     `json:"outcome,omitempty"`   // of done: answer or tombstone
	Tombstone *Tombstone `json:"tombstone,omitempty"` // only from Get

	// Of the last transition.
	Actor   string `json:"actor,omitempty"`
	Reason  string `json:"reason,omitempty"`
	TraceID string `json:"trace_id,omitempty"`
	Node    string `json:"node,omitempty"`
}

// Tombstone is what is known of an answer that was not kept, as far as it was an HTTP answer.
type Tombstone struct {
	Reason   string `json:"reason"`
	Status   int    `json:"status,omitempty"`
	Location string `json:"location,omitempty"`
}

func recordOf(r *driver.Record) Record {
	seen := Record{
		ID: r.ID.String(), State: r.State(),
		Operation: r.Labels.Operation, Route: r.Labels.Route, Host: r.Labels.Host,
		KeyHint: r.Labels.KeyHint, KeyTag: hex.EncodeToString(r.Labels.KeyTag[:]), ScopeTag: hex.EncodeToString(r.Labels.ScopeTag[:]),
		Attempt: r.Attempt, MaxAttempts: r.MaxAttempts, Fence: r.Fence,
		OnCrash: r.OnCrash.String(), MaxExecution: Seconds(r.MaxExecution),
		Age: Seconds(r.Age), GivenUp: r.GivenUp, ExpiresIn: Seconds(r.Left),
		Actor: r.Note.Actor, Reason: r.Note.Reason, TraceID: r.Note.TraceID, Node: r.Note.Node,
	}
	if r.Phase == driver.PhaseRunning {
		seen.LeaseLeft = Seconds(r.Lease)
	}
	if r.Phase == driver.PhaseDone {
		seen.Outcome = r.Outcome.Kind.String()
	}
	if r.Outcome.Kind == driver.Tombstone {
		var known Tombstone
		if json.Unmarshal(r.Outcome.Bytes, &known) == nil && known.Reason != "" {
			seen.Tombstone = &known
		}
	}
	return seen
}

// Seconds is a duration that is a number of seconds in JSON.
type Seconds time.Duration

// MarshalJSON writes seconds, to the millisecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, math.Round(time.Duration(s).Seconds()*1e3)/1e3, 'f', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	n, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return fmt.Errorf("want a number of seconds: %w", err)
	}
	*s = Seconds(n * float64(time.Second))
	return nil
}

// KeyTag is what records keep of a key, so that it can be found without being stored.
func KeyTag(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:8])
}

func parseTag(text string) (tag [8]byte, err error) {
	b, err := hex.DecodeString(text)
	if err != nil || len(b) != len(tag) {
		return tag, &Error{Wrong, fmt.Sprintf("%q is no tag of a key: want 16 hexadecimal digits", text)}
	}
	return [8]byte(b), nil
}

const leastDigits = 8

// CheckID says what is wrong with a text that ought to be an id, or the beginning of one.
func CheckID(text string) error {
	_, _, err := parseID(text)
	return err
}

// parseID returns the id if it is whole.
func parseID(text string) (id driver.ID, whole bool, err error) {
	other := func(c rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", c) }
	if len(text) < leastDigits || len(text) > hex.EncodedLen(len(id)) || strings.ContainsFunc(text, other) {
		return id, false, &Error{Wrong, fmt.Sprintf("%q is no id: want its first %d hexadecimal digits, or more", text, leastDigits)}
	}
	if len(text) < hex.EncodedLen(len(id)) {
		return id, false, nil
	}
	b, err := hex.DecodeString(text)
	return driver.ID(b), true, err
}

func begins(id driver.ID, prefix string) bool {
	return strings.HasPrefix(id.String(), strings.ToLower(prefix))
}
