package kills

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/onceward/onceward/internal/sleep"
)

// plan is what a run does.
type plan struct {
	config

	Seed    uint64
	Kills   int // the run ends when so many workers have died
	Workers int
	Clients int
	Freeze  bool    // also freeze workers for longer than a lease, and end some of them gently
	Points  *points // die there, so often at each of them, and nowhere else
	// Patience is how long they have to die there.
	Patience time.Duration
	// Previous is the program of every other worker, if there is one. In the end each program is asked for every key.
	Previous string
	// Effects returns how often each operation was done.
	Effects func() (map[string]int, error)
}

// run runs the plan, and compares in the end.
func (p *plan) run(ctx context.Context) (counters, error) {
	h := newHerd(p.Seed, p.Workers)
	within, stop := context.WithCancel(ctx)
	defer stop()
	pk := p.pack(h)
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	all.Go(func() {
		if err := pk.run(within); err != nil {
			failed.Store(&err)
			stop()
		}
	})
	via := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: p.Clients}}
	for range p.Clients {
		all.Go(func() { h.client(within, via) })
	}
	if p.Points != nil {
		p.await(within)
	} else {
		p.strike(within, h, pk)
	}
	stop()
	all.Wait()
	via.CloseIdleConnections()
	if err := failed.Load(); err != nil {
		return h.counters, *err
	}
	err := p.settle(ctx, h)
	if len(h.wrong) > 0 {
		err = errors.Join(err, fmt.Errorf("wrong answers: %s", strings.Join(h.wrong, "; ")))
	}
	return h.counters, err
}

func (p *plan) pack(h *herd) *pack {
	return &pack{
		config: p.config, previous: p.Previous, points: p.Points, workers: make([]worker, p.Workers),
		moved: func(i int, base string) {
			if base == "" {
				h.at[i].Store(nil)
				return
			}
			h.at[i].Store(&base)
		},
		ended: func(killed bool) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if killed {
				h.counters.Deaths++
			} else {
				h.counters.Restarts++
			}
		},
	}
}

// strike hits workers at random moments until enough of them have died, a fifth of them between effect and end, and clients
// have sent enough.
func (p *plan) strike(ctx context.Context, h *herd, pk *pack) {
	random := rand.New(rand.NewPCG(p.Seed, 1)) //nolint:gosec // it is to be repeatable
	for ctx.Err() == nil && !p.enough(h) {
		sleep.For(ctx, time.Duration(5+random.IntN(80))*time.Millisecond)
		w := &pk.workers[random.IntN(p.Workers)]
		switch n := random.IntN(12); {
		case p.Freeze && n == 0:
			if w.freeze(ctx, p.Lease+p.Lease/2) {
				h.count(func(c *counters) { c.Pauses++ })
			}
		case p.Freeze && n == 1:
			w.signal(syscall.SIGTERM)
		case n < 8:
			moment := []string{beforeEffect, afterEffect, afterEffect, afterEffect, beforeReply}[random.IntN(5)]
			h.mu.Lock()
			h.doomed = append(h.doomed, moment)
			h.mu.Unlock()
		default:
			w.signal(syscall.SIGKILL)
		}
	}
}

// await lets workers die at their points until enough of them have.
func (p *plan) await(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, p.Patience)
	defer cancel()
	for ctx.Err() == nil && !p.Points.enough(p.Kills) {
		sleep.For(ctx, 20*time.Millisecond)
	}
}

func (p *plan) enough(h *herd) bool {
	_, between := p.moments()
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &h.counters
	return c.Deaths >= p.Kills && between >= p.Kills/5 && len(h.names) > 5*p.Kills && c.Retries > 2*p.Kills &&
		c.Leaves > p.Kills/5 && c.Unanswered > p.Kills/2
}

// moments returns how many workers died where they were told to, and how many of them between effect and end.
func (p *plan) moments() (all, between int) {
	text, _ := os.ReadFile(p.Deaths) // not there before the first
	return bytes.Count(text, []byte("\n")), bytes.Count(text, []byte(afterEffect+"\n"))
}

func (h *herd) count(f func(*counters)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f(&h.counters)
}

// settle asks for every key once more, when nobody dies any more, and compares the answers and the effects.
func (p *plan) settle(ctx context.Context, h *herd) error {
	last := p.config
	if p.Previous != "" {
		last.Program = p.Previous
		if err := last.askAll(ctx, h); err != nil {
			return err
		}
		last.Program = p.Program
	}
	if err := last.askAll(ctx, h); err != nil {
		return err
	}
	effects, err := p.Effects()
	if err != nil {
		return err
	}
	p.audit(h, effects)
	h.counters.AtMoment, h.counters.BetweenEffectAndEnd = p.moments()
	return nil
}

// askAll asks a worker for every key.
func (c *config) askAll(ctx context.Context, h *herd) error {
	said := new(lastWords)
	cmd, base, err := c.start(said)
	if err != nil {
		return err
	}
	via := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	names := make(chan string)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for name := range names {
				h.ask(ctx, via, base, name, c.Mode)
			}
		})
	}
	for _, name := range h.names {
		names <- name
	}
	close(names)
	all.Wait()
	via.CloseIdleConnections()
	_ = cmd.Process.Signal(syscall.SIGTERM)
	if err = cmd.Wait(); err != nil {
		return fmt.Errorf("the last worker: %w: %s", err, said)
	}
	return nil
}

// ask asks for a key until nobody runs it any more. What is in doubt only for as long as a lease may last is one of those that
// are run again.
func (h *herd) ask(ctx context.Context, via *http.Client, base, name string, mode Mode) {
	for until := time.Now().Add(30 * time.Second); ; sleep.For(ctx, 20*time.Millisecond) {
		status, body, err := send(ctx, via, base, name, "")
		busy := err != nil || status == http.StatusServiceUnavailable || strings.HasPrefix(body, "in-progress") ||
			strings.HasPrefix(body, "not-now") || mode != Hold && strings.HasPrefix(body, "in-doubt")
		if busy && time.Now().Before(until) && ctx.Err() == nil {
			continue
		}
		h.mu.Lock()
		known := h.told[name].answer
		h.mu.Unlock()
		h.hear(request{name: name, answered: known != ""}, status, body, err, false)
		if busy {
			h.count(func(c *counters) { c.Unsettled++ })
		}
		return
	}
}

// audit compares what was told with what was done.
func (p *plan) audit(h *herd, effects map[string]int) {
	c := &h.counters
	c.Keys = len(h.names)
	for name, key := range h.told {
		n := effects[name]
		switch {
		case key.answer != "":
			c.Acknowledged++
			if n == 0 { // there is an answer to what was never done
				c.Lost++
			}
		case key.inDoubt:
			c.InDoubt++
		}
		if n > 1 {
			c.Twice++
		}
	}
}
