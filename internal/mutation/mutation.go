// Package mutation has storetest judge stores that are wrong on purpose, each in a process of its own in which it may fail.
package mutation

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/storetest"
)

// Open opens a mutant on the server at the address that Caught got, with an audit trail whose entries live for so long.
type Open func(t testing.TB, address string, level driver.AuditLevel, retain time.Duration) driver.Store

// asMutant is set in the process of a mutant, to the address of the server.
const asMutant = "ONCEWARD_TEST_MUTANT"

// Caught is the subtest name of t. It fails unless the suite says of the mutant that it breaks the rule, which is named by its
// two digits. The subtests of a test are parallel, because most of what they do is waiting, and share the server, which is
// asked for only where the mutants do not run.
//
// The test binary is run again for each mutant, and has to come to the same call.
func Caught(t *testing.T, name, rule string, server func() (address string), unit time.Duration, open Open) {
	t.Helper()
	address, isMutant := os.LookupEnv(asMutant)
	if !isMutant {
		address = server()
	}
	t.Run(name, func(t *testing.T) {
		if isMutant {
			suite(t, address, unit, open)
			return
		}
		t.Parallel()
		if err := caught(t.Context(), t.Name(), rule, address); err != nil {
			t.Error(err)
		}
	})
}

func suite(t *testing.T, address string, unit time.Duration, open Open) {
	t.Helper()
	trail := func(t testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
		return open(t, address, level, retain)
	}
	store := func(t testing.TB) driver.Store { return trail(t, driver.AuditOff, 0) }
	storetest.Run(t, store, &storetest.Options{RealTime: true, Unit: unit, Trail: trail})
}

// caught runs the test of that name again, as the process of its mutant.
func caught(ctx context.Context, test, rule, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	only := "^" + strings.ReplaceAll(test, "/", "$/^") + "$/^" + rule
	child := exec.CommandContext(ctx, os.Args[0], "-test.run", only) //nolint:gosec // it is this program
	child.Env = append(os.Environ(), asMutant+"="+address)
	out, err := child.CombinedOutput()
	promise := "broken promise: rule " + strings.TrimPrefix(rule, "0") + ","
	switch {
	case err == nil:
		return fmt.Errorf("nobody has noticed:\n%s", out)
	case !strings.Contains(string(out), promise):
		return fmt.Errorf("it failed otherwise: %w\n%s", err, out)
	default:
		return nil
	}
}
