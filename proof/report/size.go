package report

import (
	"os"
	"time"
)

// Size is how much a test does: a little in every run, all of it in a full torture, which TORTURE=full says.
func Size[N int | time.Duration](little, all N) N {
	if os.Getenv("TORTURE") == "full" {
		return all
	}
	return little
}
