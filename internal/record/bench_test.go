package record

import (
	"testing"

	"github.com/onceward/onceward/internal/check"
)

func BenchmarkAppend(b *testing.B) {
	s := doneAnswer()
	buf := Append(nil, &s)
	for name, dst := range map[string][]byte{"into=nothing": nil, "into=buffer": buf[:0]} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				_ = Append(dst, &s)
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	for _, shape := range shapes {
		b.Run(shape.name, func(b *testing.B) {
			src := Append(nil, &shape.value)
			b.SetBytes(int64(len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Decode(src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestAllocations holds what the benchmarks show: one for all texts, one for the outcome.
func TestAllocations(t *testing.T) {
	s := doneAnswer()
	src := Append(nil, &s)
	buf := make([]byte, 0, 2*len(src))
	check.Equal(t, testing.AllocsPerRun(100, func() { buf = Append(buf[:0], &s) }), 0, "allocations of Append with room")
	check.Equal(t, testing.AllocsPerRun(100, func() { _, _ = Decode(src) }), 2, "allocations of Decode")
}
