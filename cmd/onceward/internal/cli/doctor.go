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

It begins a key that nobody asked for and makes it free again, of which a trace stays for a minute.

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
			disk := &opened{location: at, server: diskServer}
			return f.report(cmd, disk, func() ([]finding, error) {
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
	return f.report(cmd, store, func() ([]finding, error) {
		found, err := roundTrip(func(id driver.ID) error {
			_, err := store.Get(ctx, id)
			return err
		})
		if err != nil {
			return nil, err
		}
		if clock, ok := store.Store.(interface {
			Clock(ctx context.Context) (time.Time, error)
		}); ok {
			found = append(found, lookAtClock(ctx, clock.Clock))
		}
		return append(found, write(ctx, store)), nil
	})
}

// write begins a key and makes it free again, because a full server, or one that gives too few rights, can be read all the
// same.
func write(ctx context.Context, store driver.Store) finding {
	var id driver.ID
	c := driver.Claim{
		Fingerprint: driver.Fingerprint{Algorithm: "doctor"}, Labels: driver.Labels{Operation: "onceward doctor"},
		OnCrash: driver.Rerun, MaxAttempts: 2, Lease: time.Second, Retain: time.Second, DoubtRetain: driver.MinResidue,
	}
	_, _ = rand.Read(id[:]) // it never fails
	_, _ = rand.Read(c.Owner[:])
	_, err := store.Acquire(ctx, id, c)
	if err == nil {
		err = store.Release(ctx, id, c.Owner, driver.Note{})
	}
	if err != nil {
		return finding{"write", "refused: " + err.Error(), false}
	}
	return finding{"write", "a key was begun and made free", true}
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
func (f *doctor) report(cmd *cobra.Command, store *opened, examine func() ([]finding, error)) error {
	examined, err := examine()
	if err != nil {
		return failed(fmt.Errorf("--store %s: %w", store.shown, err))
	}
	found := append([]finding{{"store", store.shown, true}, {"server", store.server, true}}, examined...)
	for _, note := range store.notes {
		found = append(found, finding{"note", note, true})
	}
	for _, doubt := range store.doubts {
		found = append(found, finding{"doubt", doubt, false})
	}
	promise := promised(found)
	found = append(found, promise)
	if err := f.print(cmd.OutOrStdout(), found, func() { show(cmd.OutOrStdout(), found) }); err != nil {
		return failed(err)
	}
	switch {
	case promise.Safe || promise.Finding == bestEffort && f.bestEffort:
		return nil
	case promise.Finding == bestEffort:
		return failed(errors.New("nothing is guaranteed on this store; mend what is listed, or say --best-effort if that is known"))
	default:
		return failed(errors.New("this store cannot be used now; mend what is listed"))
	}
}

const bestEffort = "best effort: an operation may start again"

// promised is what comes of the findings.
func promised(found []finding) finding {
	refused := func(one finding) bool { return one.Check == "write" && !one.Safe }
	switch {
	case slices.ContainsFunc(found, refused):
		return finding{"promise", "none now: what cannot be written is answered with 503, and does not run", false}
	case slices.ContainsFunc(found, func(one finding) bool { return !one.Safe }):
		return finding{"promise", bestEffort, false}
	default:
		return finding{"promise", "durable: under hold an operation starts at most once per key", true}
	}
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

// farOff is more than clocks differ that somebody keeps right.
const farOff = time.Minute

// lookAtClock compares clocks, for people who read two logs: no lease is judged by the clock of this machine. But a clock that
// is wrong will be put right, and what is kept is kept until a time by that clock.
func lookAtClock(ctx context.Context, clock func(context.Context) (time.Time, error)) finding {
	begun := time.Now()
	theirs, err := clock(ctx)
	if err != nil {
		return finding{"clock", "not told: " + err.Error(), true}
	}
	return compared(theirs.Sub(begun.Add(time.Since(begun) / 2)).Round(time.Millisecond))
}

// compared is what it means that the clock of the server is ahead by that much.
func compared(ahead time.Duration) finding {
	words := "ahead of"
	if ahead < 0 {
		words = "behind"
	}
	text := fmt.Sprintf("%v %s that of this machine", ahead.Abs(), words)
	if ahead.Abs() > farOff {
		return finding{"doubt", "the clock of the server is " + text + "; the step that puts it right ends retentions early or late", false}
	}
	return finding{"clock", text + ", which does not matter", true}
}

func show(out io.Writer, found []finding) {
	rows := make([][]string, len(found))
	for i, one := range found {
		rows[i] = []string{one.Check, one.Finding}
	}
	table(out, rows)
}
