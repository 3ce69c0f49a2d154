package kills

import (
	"context"
	"errors"

	"github.com/onceward/onceward/driver"
)

func (c *config) openSQL() (operation, func(context.Context) error, error) {
	return nil, nil, errors.ErrUnsupported
}

func (c *config) openSQLStore() (driver.Store, func(), error) {
	return nil, nil, errors.ErrUnsupported
}
