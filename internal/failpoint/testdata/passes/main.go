// Command passes passes a point, and says so.
package main

import (
	"fmt"

	"github.com/onceward/onceward/internal/failpoint"
)

func main() {
	failpoint.At(failpoint.AfterAcquire)
	fmt.Println("passed")
}
