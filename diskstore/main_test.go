package diskstore

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
)

// The test binary is also the other process that some tests need.
const asWriter, asVisitor = "DISKSTORE_TEST_WRITER", "DISKSTORE_TEST_VISITOR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asWriter); dir != "" {
		write(dir)
	}
	if dir := os.Getenv(asVisitor); dir != "" {
		_, err := Open(dir, nil)
		fmt.Println(err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// setting is a number that the environment may change, for longer runs.
func setting(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return usual
}

// write works until it is killed and prints every ack, in one write each.
func write(dir string) {
	s, err := Open(dir, &Options{FreeSpaceFloor: -1, Ballast: -1})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	l := &load{store: s, round: setting("DISKSTORE_TEST_ROUND", 0), tell: func(a ack) {
		_, _ = os.Stdout.Write(fmt.Appendf(nil, "%c%s\n", a.what, a.id))
	}}
	l.run(context.Background())
	os.Exit(1)
}
