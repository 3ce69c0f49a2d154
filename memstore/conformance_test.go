package memstore_test

import (
	"testing"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/storetest"
)

func TestConformance(t *testing.T) {
	open := func(testing.TB) driver.Store { return memstore.New(nil) }
	storetest.Run(t, open, &storetest.Options{
		Full: func(_ testing.TB, records int) driver.Store {
			return memstore.New(&memstore.Options{MaxRecords: records})
		},
	})
}
