package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/onceward/onceward/cmd/onceward/internal/control"
	"github.com/onceward/onceward/driver"
)

const doctorLong = `Look at a store before anything depends on it: is it there, how fast does it answer, what does its clock say, and what
can be promised on it.

durable      under hold an operation starts at most once per key, also after a crash of the server
best effort  it may start again after a crash or a failover: the reasons are listed

It ends with 1 if the store cannot be used, or is best effort and --best-effort does not say that this is known.`

// doctor is what is asked, and what was found.
type doctor struct {
	operator

	bestEffort bool
}

// finding is one thing that was looked at.
type finding struct {
	Check   string `json:"check"`
	Finding string `json:"finding"`
	Safe    bool   `json:"safe"`
}

func newDoctor() *cobra.Command {
	f := &doctor{}
	cmd := &cobra.Command{
		Use:     "doctor",
		Short:   "Say what can be promised on a store",
		Long:    doctorLong,
		Example: "  onceward doctor --store redis://127.0.0.1:6379",
		Args:    arguments(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.flags(cmd)
	cmd.Flags().BoolVar(&f.bestEffort, "best-effort", false, "it is known that this store can forget keys")
	return cmd
}

func (f *doctor) run(cmd *cobra.Command) error {
	f.store = storeText(cmd, f.store)
	at, err := parseLocation(f.store)
	switch {
	case err != nil:
		return err
	case at.dir+at.url == "":
		return errors.New("--store memory: needs no doctor: its keys die with the process")
	case at.dir != "": // a process may hold it
		return f.operate(cmd, func(ctx context.Context, d desk) error {
			return f.report(cmd, at.shown, "diskstore, for one process at a time", nil, func() ([]finding, error) {
				return roundTrip(func(id driver.ID) error { return look(ctx, d, id) })
			})
		})
	}
	log := slog.New(slog.DiscardHandler) // what it would say is among the findings
	store, err := openStore(f.store, &storeOptions{allowEviction: true, bestEffort: true, log: log})
	if err != nil {
		return err
	}
	defer func() { _ = store.close() }()
	ctx := cmd.Context()
	return f.report(cmd, at.shown, store.server, store.doubts, func() ([]finding, error) {
		found, err := roundTrip(func(id driver.ID) error {
			_, err := store.Get(ctx, id)
			return err
		})
		if clock, ok := store.Store.(interface {
			Clock(ctx context.Context) (time.Time, error)
		}); ok && err == nil {
			found = append(found, lookAtClock(ctx, clock.Clock))
		}
		return found, err
	})
}

// look asks for a key that nobody has.
func look(ctx context.Context, d desk, id driver.ID) error {
	_, err := d.Get(ctx, id.String())
	if control.IsNotFound(err) {
		return nil
	}
	return err
}

// report prints what was found, and fails if nothing is guaranteed on the store.
func (f *doctor) report(cmd *cobra.Command, store, server string, doubts []string, examine func() ([]finding, error)) error {
	examined, err := examine()
	if err != nil {
		return failed(fmt.Errorf("--store %s: %w", store, err))
	}
	found := append([]finding{{"store", store, true}, {"server", server, true}}, examined...)
	for _, doubt := range doubts {
		found = append(found, finding{"doubt", doubt, false})
	}
	promise := finding{"promise", "durable: under hold an operation starts at most once per key", true}
	if len(doubts) > 0 {
		promise = finding{"promise", "best effort: an operation may start again", false}
	}
	found = append(found, promise)
	if err := f.print(cmd.OutOrStdout(), found, func() { show(cmd.OutOrStdout(), found) }); err != nil {
		return failed(err)
	}
	if !promise.Safe && !f.bestEffort {
		return failed(errors.New("nothing is guaranteed on this store; mend what is listed, or say --best-effort if that is known"))
	}
	return nil
}

// asked is how often the store is asked, to see how long it takes.
const asked = 21

// roundTrip asks for a key that nobody has.
func roundTrip(ask func(id driver.ID) error) ([]finding, error) {
	var id driver.ID
	_, _ = rand.Read(id[:]) // it never fails
	took := make([]time.Duration, asked)
	for i := range took {
		begun := time.Now()
		if err := ask(id); err != nil {
			return nil, err
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	return []finding{{"round trip", fmt.Sprintf("%v, the median of %d", took[asked/2].Round(time.Microsecond), asked), true}}, nil
}

// lookAtClock compares clocks, for people who read two logs: no lease is judged by the clock of this machine.
func lookAtClock(ctx context.Context, clock func(context.Context) (time.Time, error)) finding {
	begun := time.Now()
	theirs, err := clock(ctx)
	if err != nil {
		return finding{"clock", "not told: " + err.Error(), true}
	}
	ahead := theirs.Sub(begun.Add(time.Since(begun) / 2)).Round(time.Millisecond)
	words := "ahead of"
	if ahead < 0 {
		words = "behind"
	}
	return finding{"clock", fmt.Sprintf("%v %s that of this machine, which does not matter", ahead.Abs(), words), true}
}

func show(out io.Writer, found []finding) {
	rows := make([][]string, len(found))
	for i, one := range found {
		rows[i] = []string{one.Check, one.Finding}
	}
	table(out, rows)
}
