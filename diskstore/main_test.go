package diskstore

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// The test binary is also the other process that some tests need.
const (
	asWriter  = "DISKSTORE_TEST_WRITER"
	asVisitor = "DISKSTORE_TEST_VISITOR"
	asTenant  = "DISKSTORE_TEST_TENANT" // of a small disk
	readsHow  = "DISKSTORE_TEST_READS"  // of a writer: unsynced, or as everybody
)

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
	fs := vfs.Default
	if os.Getenv(readsHow) != "" {
		fs = slowLogs{fs}
	}
	// With the lowest floor the logs are short, and most are an older one that is used again.
	s, err := open(dir, &Options{FreeSpaceFloor: 1, Ballast: -1}, fs)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	l := &load{store: s, get: s.Get, round: setting("DISKSTORE_TEST_ROUND", 0), tell: func(a ack) {
		_, _ = os.Stdout.Write(fmt.Appendf(nil, "%c%s\n", a.what, a.id))
	}}
	if os.Getenv(readsHow) == "unsynced" {
		l.get = s.getUnsynced
	}
	l.run(context.Background())
	os.Exit(1)
}
