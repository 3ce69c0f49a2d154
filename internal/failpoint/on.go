//go:build failpoint

package failpoint

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
)

const variable = "ONCEWARD_FAILPOINT"

// armed is what the variable says.
var armed struct {
	point  Point
	chance float64
	freeze bool
}

func init() { //nolint:gochecknoinits // a mistake has to end the program before it proves anything
	if err := arm(os.Getenv(variable)); err != nil {
		fmt.Fprintf(os.Stderr, "failpoint: %s: %v; say something like %s:0.01 or %s:0.01:freeze\n",
			variable, err, AfterAcquire, AfterAcquire)
		os.Exit(2)
	}
}

func arm(text string) (err error) {
	if text == "" {
		return nil
	}
	name, rest, _ := strings.Cut(text, ":")
	chance, how, more := strings.Cut(rest, ":")
	armed.point, armed.freeze = Point(name), more
	armed.chance, err = strconv.ParseFloat(chance, 64)
	switch {
	case err != nil:
		return fmt.Errorf("the chance %q is no number", chance)
	case armed.chance < 0 || armed.chance > 1:
		return fmt.Errorf("the chance %q is not between 0 and 1", chance)
	case more && how != "freeze":
		return fmt.Errorf("%q is not what can be done but kill: that is freeze", how)
	}
	return known(armed.point)
}

func known(p Point) error {
	switch p {
	case BeforeAcquire, AfterAcquire, BeforeComplete, AfterComplete, BeforeRelease, AfterRelease, BeforeExtend,
		AfterTake, BeforeCommit, AfterCommit, BeforeSync, AfterSync:
		return nil
	}
	return fmt.Errorf("there is no point %q", p)
}

// At kills or freezes the process if it is told to do that here, by the chance that it is told. It is safe for concurrent
// use.
func At(p Point) {
	if p != armed.point || rand.Float64() >= armed.chance { //nolint:gosec // not a secret
		return
	}
	if armed.freeze {
		_, _ = fmt.Fprintf(os.Stderr, "failpoint: frozen at %s\n", p)
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		return
	}
	_, _ = fmt.Fprintf(os.Stderr, "failpoint: killed at %s\n", p)
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // it takes a moment
}
