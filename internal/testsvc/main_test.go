package testsvc

import (
	"fmt"
	"os"
	"testing"
)

// TestMain leaves the servers out of go test ./..., which is for everybody and takes seconds. With TEST_SERVERS, as make test
// sets it, a server that is missing is a failure.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_SERVERS") == "" {
		fmt.Println("needs servers, and TEST_SERVERS=1: make test")
		return
	}
	os.Exit(m.Run())
}
