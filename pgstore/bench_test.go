package pgstore

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/testsvc"
)

// BenchmarkPairAlone is what going together saves: a request costs as much as it does, and as it would if each call went by
// itself. What a store costs beside plain statements is measured by the program in bench.
func BenchmarkPairAlone(b *testing.B) {
	server := testsvc.Postgres(b, "shared_buffers = 256MB", "max_wal_size = 4GB")
	s := openAt(b, server.URL+"&pool_max_conns=32", nil)
	stores := map[string]driver.Store{"together": s, "alone": &s.verbs}
	for _, callers := range []int{1, 16, 128} {
		for _, how := range []string{"together", "alone"} {
			b.Run(fmt.Sprintf("callers=%d/%s", callers, how), func(b *testing.B) {
				first, c := newID(), claim()
				var next atomic.Uint64
				b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						id := first
						binary.BigEndian.PutUint64(id[:], next.Add(1)*0x9e3779b97f4a7c15) // spread as hashes are
						pair(b, stores[how], id, &c)
					}
				})
			})
		}
	}
}
