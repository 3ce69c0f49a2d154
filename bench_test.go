package onceward_test

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/memstore"
)

func BenchmarkGuard(b *testing.B) {
	answer := make([]byte, 200)
	setup := func(b *testing.B) (*onceward.Guard, func() onceward.Key) {
		b.Helper()
		g, err := onceward.New(memstore.New(nil), nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = g.Close(context.Background()) })
		b.ReportAllocs()
		n, value := uint64(0), [8]byte{}
		return g, func() onceward.Key {
			n++
			binary.BigEndian.PutUint64(value[:], n%500_000)
			return onceward.Key{Scope: "customer 7", Operation: "charge", Value: "order-4711-" + string(value[:])}
		}
	}
	b.Run("fresh", func(b *testing.B) {
		g, next := setup(b)
		for b.Loop() {
			a, err := g.Begin(context.Background(), next(), nil, amount)
			if err != nil {
				b.Fatal(err)
			}
			if _, ok := a.Outcome(); !ok {
				_ = a.Complete(answer)
			}
		}
	})
	b.Run("replay", func(b *testing.B) {
		g, next := setup(b)
		key := next()
		a, _ := g.Begin(context.Background(), key, nil, amount)
		_ = a.Complete(answer)
		for b.Loop() {
			a, err := g.Begin(context.Background(), key, nil, amount)
			if err != nil {
				b.Fatal(err)
			}
			if _, ok := a.Outcome(); !ok {
				b.Fatal("not a replay")
			}
		}
	})
}
