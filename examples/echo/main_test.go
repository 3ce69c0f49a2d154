package main

import (
	"testing"

	"github.com/onceward/onceward/examples/shop/shoptest"
)

func TestPayments(t *testing.T) { shoptest.Run(t, routes) }
