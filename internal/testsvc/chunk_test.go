package testsvc

import (
	"bytes"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

func TestChunksAreCountedAndChancesRepeat(t *testing.T) {
	p, _ := newProxy(t)
	seen := make(chan Chunk, 10)
	p.Fault(func(c Chunk) Action {
		c.Bytes = bytes.Clone(c.Bytes)
		seen <- c
		return Action{}
	})
	for range 2 {
		connect(t, p.Addr).echoes("tea")
	}
	var got []Chunk
	for range 4 {
		got = append(got, <-seen)
	}
	tea := []byte("tea")
	check.Equal(t, got, []Chunk{{1, 1, true, tea}, {1, 1, false, tea}, {2, 1, true, tea}, {2, 1, false, tea}}, "the chunks")

	below, different := 0, map[float64]bool{}
	for n := range 10_000 {
		c := Chunk{Conn: n % 10, Number: n / 20, Request: n/10%2 == 0}
		chance := c.Chance(1)
		check.Equal(t, c.Chance(1), chance, "a chance again")
		check.True(t, c.Chance(2) != chance, "the seed does not matter")
		different[chance] = true
		if chance < 0.1 {
			below++
		}
	}
	check.Equal(t, len(different), 10_000, "different chances")
	check.True(t, below > 800 && below < 1200, "%d of 10000 chances are below a tenth", below)
}
