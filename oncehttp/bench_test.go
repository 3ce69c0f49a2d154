package oncehttp

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
)

// BenchmarkHandler compares a handler alone, guarded with a new key each time, and replayed. The requests and the writer
// cost almost nothing, so that what is left is ours and the engine's.
func BenchmarkHandler(b *testing.B) {
	bare := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":"pay_1","status":"paid"}`)
	})
	guard, err := onceward.New(memstore.New(nil), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer guard.Close(context.Background())
	guarded := New(guard, SingleTenant, nil)(bare)
	for _, c := range []struct {
		name string
		h    http.Handler
		key  func() string
	}{
		{"bare", bare, freshKeys()},
		{"fresh", guarded, freshKeys()},
		{"replay", guarded, func() string { return "k" }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			w := &plainWriter{header: make(http.Header)}
			body := &plainBody{}
			r, _ := http.NewRequest(http.MethodPost, "/payments", nil)
			r.Body, r.Header = body, http.Header{"Content-Type": {"application/json"}, "Idempotency-Key": {""}}
			for b.Loop() {
				clear(w.header)
				r.Header["Idempotency-Key"][0] = c.key()
				body.Reset(`{"amount":100,"currency":"EUR"}`)
				r.ContentLength = body.Size()
				c.h.ServeHTTP(w, r)
			}
		})
	}
}

// freshKeys makes keys of one allocation each, for the bare handler, too.
func freshKeys() func() string {
	n := uint64(0)
	return func() string {
		n++
		key := [20]byte{}
		for i, rest := 0, n; i < len(key); i, rest = i+1, rest/10 {
			key[i] = '0' + byte(rest%10)
		}
		return string(key[:])
	}
}

type plainBody struct{ strings.Reader }

func (*plainBody) Close() error { return nil }

type plainWriter struct{ header http.Header }

func (w *plainWriter) Header() http.Header         { return w.header }
func (w *plainWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *plainWriter) WriteHeader(int)             {}

func (*plainWriter) SetReadDeadline(time.Time) error { return nil }
