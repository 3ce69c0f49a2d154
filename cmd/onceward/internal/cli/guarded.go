package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/cmd/onceward/internal/control"
	"github.com/onceward/onceward/driver"
)

// closeTime is how long the guard may take to store what the store did not take yet.
const closeTime = 10 * time.Second

type hook = func(context.Context, onceward.Trace)

// guarded is a store that this process has open, its guard, and what operators may ask of it.
type guarded struct {
	store   *opened
	guard   *onceward.Guard
	desk    *control.Desk
	control *control.Server // nil without a data directory
}

// openGuarded guards a store, which is closed with it or if that fails, and tells each hook what the guard traces.
func openGuarded(store *opened, o *onceward.Options, hooks ...hook) (g *guarded, err error) {
	g = &guarded{store: store}
	events := &control.Events{}
	hooks = append(hooks, events.Trace)
	o.Trace = func(ctx context.Context, t onceward.Trace) {
		for _, tell := range hooks {
			tell(ctx, t)
		}
	}
	if g.guard, err = onceward.New(store, o); err != nil {
		return nil, errors.Join(refused(store, err), store.close())
	}
	g.desk = control.NewDesk(store, &control.Options{Trace: g.guard.Trace, Events: events})
	if store.dir == "" {
		return g, nil
	}
	g.control, err = control.Serve(store.dir, g.desk, o.Logger)
	if err != nil {
		return nil, errors.Join(failed(err), g.close())
	}
	return g, nil
}

// refused says in the words of the command line why a guard does not start: the options are right, so it is the store.
func refused(store *opened, err error) error {
	if errors.Is(err, driver.ErrUnavailable) {
		return fmt.Errorf("--store %s: %w; restore a backup", store.shown, err)
	}
	return fmt.Errorf("--store %s was used under another --scope, so the same request would be another key and run again: use "+
		"the scope that it was used under, or --accept-scope to leave the keys there behind", store.shown)
}

// close stores what is left to store, and gives the directory up.
func (g *guarded) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	err := g.guard.Close(ctx)
	if g.control != nil {
		err = errors.Join(err, g.control.Close())
	}
	return errors.Join(err, g.store.close())
}

// hostname is "" where the machine has no name.
func hostname() string {
	name, _ := os.Hostname()
	return name
}
