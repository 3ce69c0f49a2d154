package faults

import (
	"testing"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/memstore"
	"github.com/onceward/onceward/storetest"
)

// Whoever insists sees a store that loses no replies. Without insisting this fails.
func TestConformanceOfWhoInsists(t *testing.T) {
	storetest.Run(t, func(t testing.TB) driver.Store {
		store := memstore.New(nil)
		lossy := storetest.NewFaulty(store)
		t.Cleanup(lossy.Close)
		lossy.Randomly(1, 0.1, storetest.Refuse, storetest.ApplyThenFail)
		return insist(t, lossy, store)
	}, nil)
}
