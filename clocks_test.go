package onceward

import (
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

func TestClocksThatPartByMoreThanAnHourDoNotAgree(t *testing.T) {
	for _, c := range []struct {
		monotonic, wall time.Duration
		agree           bool
	}{
		{time.Minute, time.Minute, true},
		{time.Minute, time.Hour, true},
		{time.Minute, 2 * time.Hour, false},
		{2 * time.Hour, -time.Minute, false},
	} {
		check.Equal(t, clocksAgree(c.monotonic, c.wall), c.agree, "%v and %v agree", c.monotonic, c.wall)
	}
}

// A reading without its monotonic part stands for a machine that was suspended, or whose wall clock was set.
func TestElapsedBelievesTheClockThatSaysMore(t *testing.T) {
	sent := time.Now()
	check.Equal(t, elapsed(sent, sent.Add(time.Second)), time.Second, "both clocks")
	check.Equal(t, elapsed(sent.Round(0), sent.Add(time.Hour).Round(0)), time.Hour, "the wall clock alone")
}
