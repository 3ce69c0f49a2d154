package onceward_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

func TestNewKeyIsAPrefixAndAUUIDv7(t *testing.T) {
	shape := regexp.MustCompile(`^pay_([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		before := time.Now().UnixMilli()
		key := onceward.NewKey("pay_")
		after := time.Now().UnixMilli()
		parts := shape.FindStringSubmatch(key)
		check.True(t, parts != nil, "%q is not a prefix and a UUIDv7", key)
		var ms int64
		for _, digit := range parts[1] + parts[2] {
			ms = ms<<4 | int64(strings.IndexRune("0123456789abcdef", digit))
		}
		check.True(t, before <= ms && ms <= after, "%q says %d, made between %d and %d", key, ms, before, after)
		check.True(t, !seen[key], "%q was made twice", key)
		seen[key] = true
	}
}

func TestDeriveKeyIsByValue(t *testing.T) {
	derive := func(payload string) string {
		key, err := onceward.DeriveKey("auto-", []byte(payload))
		check.NoError(t, err, "DeriveKey(%q)", payload)
		check.True(t, strings.HasPrefix(key, "auto-") && len(key) == len("auto-")+64, "shape of %q", key)
		return key
	}
	same := derive(`{"amount": 12, "to": "bob"}`)
	check.Equal(t, derive(`{"to":"bob","amount":12}`), same, "key of the same document in another order")
	check.True(t, derive(`{"to":"bob","amount":13}`) != same, "another amount got the same key")
	check.True(t, derive(`{"to":"bob","amount":12.0}`) != same, "numbers are compared as written")
	for _, payload := range []string{"", " \n", "not JSON", `{"a":1,"a":2}`, `{"a":1} {}`, "\"\xff\"", `"\ud800"`} {
		_, err := onceward.DeriveKey("auto-", []byte(payload))
		check.True(t, err != nil, "a key was derived from %q", payload)
		_, err = onceward.FingerprintJSON([]byte(payload))
		check.True(t, err != nil, "a fingerprint was made of %q", payload)
	}
}

// The id of a key must never change: a node of another version would run the same request again.
func TestIDIsStable(t *testing.T) {
	key := onceward.Key{Scope: "tenant", Operation: "POST /payments", Value: "k-1", Route: "any", Host: "any"}
	check.Equal(t, key.ID().String(), "4644a39366d6cda531fddd9d99fca756f0b101ddf9582559ff9c5ae200646f94", "id")
	long := onceward.Key{Scope: strings.Repeat("s", 5000), Operation: "o", Value: strings.Repeat("v", 5000)}
	check.Equal(t, long.ID().String(), "8e6d71cb57f51d58b41739ce4b3ab7bd4e6aaa4ab5f1bbcff0cfaa2edf98cdcf", "id of a long key")
}

// One caller can send a path of megabytes. It is another operation than one that begins alike, and no store has to keep it whole.
func TestLongTextsAreCutInRecordsOnly(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	key := onceward.Key{Scope: long, Operation: long, Value: long, Route: long, Host: long, TraceID: long}
	g := newGuard(t, memstore.New(nil), nil)
	a, err := g.Begin(t.Context(), key, nil, amount)
	check.NoError(t, err, "Begin")
	check.NoError(t, a.Release(long), "Release")
	a, err = g.Begin(t.Context(), key, nil, amount)
	check.NoError(t, err, "Begin after the Release")
	check.NoError(t, a.Doubt(long), "Doubt")
	r, err := g.Lookup(t.Context(), key)
	check.NoError(t, err, "Lookup")
	for name, text := range map[string]string{
		"operation": r.Labels.Operation, "route": r.Labels.Route, "host": r.Labels.Host, "reason": r.Note.Reason, "trace id": r.Note.TraceID,
	} {
		check.True(t, len(text) > 1000 && len(text) < 1100, "the %s has %d bytes", name, len(text))
	}
	key.Operation += "y"
	_, err = g.Begin(t.Context(), key, nil, amount)
	check.NoError(t, err, "Begin of an operation that begins alike")
}
