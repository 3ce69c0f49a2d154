package diskstore

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
)

// A process is killed while it writes, again and again in one directory. Nothing that a caller or a reader was told may be
// gone. DISKSTORE_TEST_KILLS sets how often; the default is 30.
func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	kills, dir := setting("DISKSTORE_TEST_KILLS", 30), t.TempDir()
	var all []ack
	counts := map[byte]int{}
	for round := range kills {
		told := killedWriter(t, dir, round, 1+rand.IntN(1000))
		for _, a := range told {
			counts[a.what]++
		}
		all = append(all, told...)
		s := openAt(t, dir, vfs.Default)
		checkKept(t, s, told)
		check.NoError(t, s.consistent(), "after kill %d", round)
		if round == kills-1 {
			checkKept(t, s, all)
		}
		check.NoError(t, s.Close(), "closing")
	}
	t.Logf("%d kills, %d times held, %d times done, %d times released", kills, counts[ackHeld], counts[ackDone], counts[ackReleased])
	check.True(t, min(counts[ackHeld], counts[ackDone], counts[ackReleased]) > 10*kills, "too little was written")
}

// killedWriter starts a writer, kills it after so many acks, and returns all that it has told.
func killedWriter(t *testing.T, dir string, round, after int) (told []ack) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asWriter+"="+dir, fmt.Sprintf("DISKSTORE_TEST_ROUND=%d", round))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	check.NoError(t, err, "a pipe")
	check.NoError(t, cmd.Start(), "starting a writer")
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		id, err := hex.DecodeString(line[1:])
		check.NoError(t, err, "the line %q", line)
		told = append(told, ack{line[0], driver.ID(id)})
		if len(told) == after {
			check.NoError(t, cmd.Process.Kill(), "killing the writer")
		}
	}
	err = cmd.Wait()
	check.True(t, err != nil && strings.Contains(err.Error(), "killed"), "the writer ended by itself: %v", err)
	return told
}

func TestAnotherProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, vfs.Default)
	acquire(t, s, driver.ID{1})
	for range 2 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asVisitor+"="+dir)
		out, err := cmd.Output()
		check.NoError(t, err, "a visitor")
		check.True(t, strings.Contains(string(out), dir+" is in use"), "the visitor was told %q", out)
		_, err = Open(dir, nil)
		check.True(t, err != nil && strings.Contains(err.Error(), dir+" is in use"), "opening it twice: %v", err)
	}
	check.NoError(t, complete(s, driver.ID{1}), "Complete after others have knocked")
}
