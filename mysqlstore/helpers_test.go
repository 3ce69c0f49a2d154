package mysqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

var (
	bg      = context.Background()
	quiet   = slog.New(slog.DiscardHandler)
	sampled = driver.Outcome{Kind: driver.Answer, Bytes: []byte(strings.Repeat("a", 200))}
)

// claim is a typical one.
func claim() driver.Claim {
	return driver.Claim{
		Owner:       newOwner(),
		Fingerprint: driver.Fingerprint{Algorithm: "http-bytes/1", Sum: strings.Repeat("\xf0\x00\x9f\xff", 8)},
		OnCrash:     driver.Hold, MaxAttempts: 1, MaxExecution: 10 * time.Minute,
		Lease: 30 * time.Second, Retain: 24 * time.Hour, DoubtRetain: 30 * 24 * time.Hour,
		Labels: driver.Labels{
			KeyTag: [8]byte{0x4b, 7: 0x4c}, ScopeTag: [8]byte{0x5c, 7: 0x5d}, KeyHint: "ord_…",
			Operation: "POST /api/payments", Route: "POST /api/payments", Host: "api.example.com",
		},
		Note: driver.Note{Node: "payments-7f9c4"},
	}
}

func newOwner() (o driver.Owner) {
	_, _ = rand.Read(o[:])
	return o
}

func newID() (id driver.ID) {
	_, _ = rand.Read(id[:])
	return id
}

// pair is what one request costs: the key acquired, the answer stored.
func pair(t testing.TB, s driver.Store, id driver.ID, c *driver.Claim) {
	t.Helper()
	if g, err := s.Acquire(bg, id, *c); err != nil || g.Verdict != driver.Acquired {
		t.Fatal(g.Verdict, err)
	}
	if err := s.Complete(bg, id, c.Owner, sampled); err != nil {
		t.Fatal(err)
	}
}

// acquire asks for a key and expects the verdict.
func acquire(t testing.TB, s driver.Store, id driver.ID, c driver.Claim, want driver.Verdict) driver.Record {
	t.Helper()
	g, err := s.Acquire(bg, id, c)
	check.NoError(t, err, "Acquire")
	check.Equal(t, g.Verdict, want, "the verdict")
	return g.Record
}

// openAt opens a store that is closed at the end. Without a prefix it gets tables of its own.
func openAt(t testing.TB, url string, o *Options) *Store {
	t.Helper()
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	if opts.Prefix == "" {
		opts.Prefix = testsvc.Name() + "_"
		migrated(t, url, &opts)
	}
	s, err := Open(url, &opts)
	check.NoError(t, err, "opening a store")
	t.Cleanup(s.Close)
	return s
}

// migrated makes tables.
func migrated(t testing.TB, url string, o *Options) {
	t.Helper()
	_, err := Migrate(bg, url, Latest, o)
	check.NoError(t, err, "migrating")
}

func poolOf(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := connect(url)
	check.NoError(t, err, "connecting")
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// execute is a statement outside of the store, on its tables.
func execute(t testing.TB, s *Store, statement string, args ...any) {
	t.Helper()
	_, err := s.db.ExecContext(bg, s.named(statement), args...)
	check.NoError(t, err, "%s", statement)
}

// ask is a statement outside of the store, on its tables, that answers one value.
func ask[T any](t testing.TB, s *Store, statement string, args ...any) (v T) {
	t.Helper()
	check.NoError(t, s.db.QueryRowContext(bg, s.named(statement), args...).Scan(&v), "%s", statement)
	return v
}
