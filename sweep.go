package onceward

import (
	"context"
	"errors"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/sleep"
)

var errClocksPart = errors.New("wall clock and monotonic clock part by more than an hour: sweeping has stopped, because one " +
	"of them is wrong; check the clock and restart")

// sweep removes expired records, batch by batch, until ctx ends.
func (g *Guard) sweep(ctx context.Context, sweeper driver.Sweeper) {
	begun := time.Now()
	for sleep.For(ctx, jitter(g.opts.SweepInterval)) {
		now := time.Now()
		if !clocksAgree(now.Sub(begun), now.Round(0).Sub(begun.Round(0))) {
			g.trace(ctx, Trace{Step: "sweep-stopped", Err: errClocksPart})
			return
		}
		for more := true; more && ctx.Err() == nil; {
			more = g.sweepOnce(ctx, sweeper)
		}
	}
}

func clocksAgree(monotonic, wall time.Duration) bool {
	return (monotonic - wall).Abs() <= time.Hour
}

func (g *Guard) sweepOnce(ctx context.Context, sweeper driver.Sweeper) (more bool) {
	call := g.call(ctx, "sweep")
	removed, err := sweeper.Sweep(call, g.opts.SweepBatch)
	g.trace(ctx, Trace{Step: "swept", Count: removed, Took: time.Since(call.sent), Err: call.end(err)})
	return err == nil && removed >= g.opts.SweepBatch
}
