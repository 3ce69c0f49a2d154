package diskstore

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

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

// On a slow disk the test above finds a reader that does not wait for the sync of what it reads, and no other.
func TestKillFindsUnsyncedReads(t *testing.T) {
	for _, how := range []string{"as everybody", "unsynced"} {
		lost, total := 0, 0
		for round := range 5 {
			dir := t.TempDir()
			told := killedWriter(t, dir, round, 500, readsHow+"="+how)
			s := openAt(t, dir, vfs.Default)
			for _, a := range told {
				if kept(s, a) != nil {
					lost++
				}
			}
			total += len(told)
			check.NoError(t, s.Close(), "closing")
		}
		t.Logf("reading %s: of %d acks %d were lost", how, total, lost)
		check.Equal(t, lost > 0, how == "unsynced", "whether acks were lost, reading %s", how)
	}
}

// getUnsynced is Get without the stripe, and so may answer from a write that is not durable yet.
func (s *Store) getUnsynced(_ context.Context, id driver.ID) (driver.Record, error) {
	e, err := s.load(id)
	return e.read(id, s.now()), err
}

// slowLogs is a disk that takes its time before it writes to a log.
type slowLogs struct{ vfs.FS }

func (d slowLogs) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	if err == nil && strings.HasSuffix(name, ".log") {
		f = slowLog{f}
	}
	return f, err
}

func (d slowLogs) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return slowLog{f}, err
}

type slowLog struct{ vfs.File }

func (f slowLog) Write(p []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return f.File.Write(p)
}

// killedWriter starts a writer, kills it after so many acks, and returns all that it has told.
func killedWriter(t *testing.T, dir string, round, after int, env ...string) (told []ack) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asWriter+"="+dir, fmt.Sprintf("DISKSTORE_TEST_ROUND=%d", round))
	cmd.Env = append(cmd.Env, env...)
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
