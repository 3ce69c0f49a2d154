package rawlog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

func TestWhatWasAppendedIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := Create(path)
	check.NoError(t, err, "creating a log")
	var all sync.WaitGroup
	for caller := range 16 {
		all.Go(func() {
			for n := range 20 {
				entry := fmt.Appendf(nil, "[%d of %d]", n, caller)
				err := log.Append(entry)
				there, readErr := os.ReadFile(path)
				if err != nil || readErr != nil || bytes.Count(there, entry) != 1 {
					t.Errorf("%s is not in the log once: %v, %v", entry, err, readErr)
				}
			}
		})
	}
	all.Wait()

	check.NoError(t, log.Close(), "Close")
	for range 2 {
		check.ErrorIs(t, log.Append([]byte("x")), os.ErrClosed, "an entry that cannot be written")
	}
}
