package memstore_test

import (
	"testing"
	"time"

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
		Trail: func(_ testing.TB, level driver.AuditLevel, retain time.Duration) driver.Store {
			return memstore.New(&memstore.Options{Audit: level, AuditRetention: retain})
		},
	})
}
