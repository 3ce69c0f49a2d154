package mutation

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/memstore"
)

// anybody lets every caller complete every key.
type anybody struct{ driver.Store }

func (s anybody) Complete(ctx context.Context, id driver.ID, _ driver.Owner, out driver.Outcome) error {
	r, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	return s.Resolve(ctx, id, driver.Resolution{Fence: r.Fence, Outcome: &out, Force: true})
}

const unit = 10 * time.Millisecond

func TestMutantIsCaught(t *testing.T) {
	Caught(t, "Anybody", "06", func() string { return "" }, unit,
		func(testing.TB, string, driver.AuditLevel, time.Duration) driver.Store {
			return anybody{memstore.New(nil)}
		})
}

func TestNotCaught(t *testing.T) {
	for name, c := range map[string]struct {
		open Open
		want string
	}{
		"Sound": {
			func(testing.TB, string, driver.AuditLevel, time.Duration) driver.Store { return memstore.New(nil) },
			"nobody has noticed",
		},
		"Unopened": {
			func(t testing.TB, at string, _ driver.AuditLevel, _ time.Duration) driver.Store {
				t.Helper()
				t.Fatalf("nobody answers at %s", at)
				return nil
			},
			"nobody answers at home",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if address, isMutant := os.LookupEnv(asMutant); isMutant {
				suite(t, address, unit, c.open)
				return
			}
			err := caught(t.Context(), t.Name(), "06", "home")
			check.True(t, err != nil && strings.Contains(err.Error(), c.want), "said of a mutant that is not caught: %v", err)
		})
	}
}
