package cli

import (
	"context"
	"log/slog"

	"github.com/onceward/onceward/driver"
)

// untold is a store that an operator may use, but not its audit trail. Who resolves is warned, and goes on: a doubt must not
// wait for a right.
type untold struct {
	driver.Store

	why error
	log *slog.Logger
}

// Unwrap is for driver.As.
func (u *untold) Unwrap() driver.Store { return u.Store }

// Resolve implements driver.Store.
func (u *untold) Resolve(ctx context.Context, id driver.ID, r driver.Resolution) error {
	err := u.Store.Resolve(ctx, id, r)
	if err == nil {
		u.log.Warn("this is not on the audit trail", "id", id.Short(), "why", u.why)
	}
	return err
}
