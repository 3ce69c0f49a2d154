package testsvc

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// asVictim is set in the process that is killed.
const asVictim = "TESTSVC_TEST_VICTIM"

func TestServersEndWithAKilledTestProcess(t *testing.T) {
	if os.Getenv(asVictim) != "" {
		victim(t)
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), asVictim+"=yes")
	out, err := cmd.StdoutPipe()
	check.NoError(t, err, "a pipe")
	check.NoError(t, cmd.Start(), "starting a victim")
	var addrs, dirs, pids, segments []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		switch what, value, _ := strings.Cut(lines.Text(), " "); what {
		case "addr":
			addrs = append(addrs, value)
		case "dir":
			dirs = append(dirs, value)
		case "pid":
			pids = append(pids, value)
		case "segment":
			segments = append(segments, value)
		case "end":
			check.NoError(t, cmd.Process.Kill(), "kill -9")
		default:
			t.Errorf("the victim says %q", lines.Text())
		}
	}
	err = cmd.Wait()
	check.True(t, err != nil && strings.Contains(err.Error(), "killed"), "the victim ended by itself: %v", err)
	check.True(t, len(addrs) == 4 && len(dirs) == 5 && len(pids) > 9 && len(segments) == 2,
		"too few servers: %v %v %v %v", addrs, dirs, pids, segments)
	for _, dir := range dirs {
		eventually(t, "the end of "+dir, func() bool { _, err := os.Stat(dir); return os.IsNotExist(err) })
	}
	for _, pid := range pids {
		n, _ := strconv.Atoi(pid)
		eventually(t, "the end of process "+pid, func() bool { return ended(n) })
	}
	for _, addr := range addrs {
		refused(t, addr)
	}
	memory, _ := os.ReadFile("/proc/sysvipc/shm")
	for line := range strings.Lines(string(memory)) {
		check.True(t, !slices.Contains(segments, strings.Fields(line)[1]), "shared memory is left: %s", line)
	}
}

// ended is true of a zombie too, for which only its new parent can do something.
func ended(pid int) bool {
	state, _ := status("/proc/" + strconv.Itoa(pid) + "/stat")
	return syscall.Kill(pid, 0) != nil || state == "Z"
}

// victim starts servers, tells all of their processes, and waits for its end.
func victim(t *testing.T) {
	t.Helper()
	paused := Postgres(t)
	paused.Pause()
	for _, s := range []*Server{paused, Postgres(t), Redis(t), MariaDB(t)} {
		fmt.Println("addr", s.Addr)
		fmt.Println("dir", s.own.dir)
		for _, pid := range append(children(s.own.process.Pid), s.own.process.Pid) {
			fmt.Println("pid", pid)
		}
		if lines, err := os.ReadFile(s.own.path("data/postmaster.pid")); err == nil {
			fmt.Println("segment", strings.Fields(strings.Split(string(lines), "\n")[6])[1])
		}
	}
	fmt.Println("pid", preparing(t))
	fmt.Println("end")
	select {}
}

// preparing starts a server whose data directory takes long to make, and returns the process that makes it.
func preparing(t *testing.T) (pid int) {
	t.Helper()
	slow := redis
	slow.prepare = func(i *instance) error {
		fmt.Println("dir", i.dir)
		return i.run("sleep", "3600")
	}
	go func() { _, _ = slow.create(nil) }()
	eventually(t, "the preparation", func() bool {
		for _, pid = range children(os.Getpid()) {
			if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(name) == "sleep\n" {
				return true
			}
		}
		return false
	})
	return pid
}

// openFolder is a folder that everybody may enter and write to.
func openFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "testsvc-test-") //nolint:usetesting // that of a test is closed to others
	check.NoError(t, err, "a folder")
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	check.NoError(t, os.Chmod(dir, 0o777), "opening it to all")
	return dir
}

// Root gives up its rights for the servers. Everybody else has to get by with their own.
func TestServersOfAnOrdinaryUser(t *testing.T) {
	if os.Getuid() != 0 {
		return // every other test shows it
	}
	t.Parallel()
	dir := openFolder(t)
	binary, err := os.ReadFile(os.Args[0])
	check.NoError(t, err, "reading the test binary")
	program := filepath.Join(dir, "tests")
	check.NoError(t, os.WriteFile(program, binary, 0o755), "copying the test binary to where others may run it")
	cmd := exec.Command(program, "-test.v", "-test.run", "^(TestServers|TestFoldersAreRemoved|TestFolderThatTheServiceMayNotEnter)$")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TEST_SERVERS=1"}                                      // /usr/sbin has MariaDB, and is not in it
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}} // nobody
	out, err := cmd.CombinedOutput()
	check.NoError(t, err, "the tests of an ordinary user:\n%s", out)
	check.Equal(t, strings.Count(string(out), "--- PASS"), 6, "tests that passed, of\n%s", out)
}

func TestServerThatDoesNotStartSaysWhy(t *testing.T) {
	said, _ := attempt(t, func(t testing.TB) { Redis(t, "no-such-setting yes") })
	check.True(t, strings.Contains(said, "redis ended before it answered") && strings.Contains(said, "no-such-setting"), "said: %s", said)

	t.Setenv("PATH", t.TempDir())
	_, err := find("no-such-program", "a-package")
	check.True(t, err != nil && strings.Contains(err.Error(), "no-such-program is missing") &&
		strings.Contains(err.Error(), "apt-get install -y --no-install-recommends a-package"), "said: %v", err)
}

func TestLogIsShownIfTheTestFails(t *testing.T) {
	said, _ := attempt(t, func(t testing.TB) { Redis(t); t.Fatalf("no tea") })
	check.True(t, strings.Contains(said, "no tea") && strings.Contains(said, "Ready to accept"), "said by a test that fails: %s", said)
	said, _ = attempt(t, func(t testing.TB) { Redis(t) })
	check.Equal(t, said, "", "said by a test that does not fail")
	said, _ = attempt(t, func(t testing.TB) {
		p := Redis(t).own.process
		_ = p.Kill()
		<-p.gone
	})
	check.True(t, strings.Contains(said, "redis has ended by itself"), "said of a crash: %s", said)
}

func TestFoldersAreRemoved(t *testing.T) {
	dir := openFolder(t)
	t.Setenv("TMPDIR", dir)
	for _, use := range []func(*Server){func(*Server) {}, (*Server).Kill, (*Server).Stop, (*Server).Pause} {
		_, failed := attempt(t, func(t testing.TB) { use(Redis(t)) })
		check.True(t, !failed, "it failed")
		left, _ := filepath.Glob(dir + "/*")
		check.Equal(t, len(left), 0, "folders left")
	}
}

func TestFolderThatTheServiceMayNotEnter(t *testing.T) {
	dir := t.TempDir()
	check.NoError(t, os.Chmod(dir, 0o700), "closing it to others")
	t.Setenv("TMPDIR", dir)
	said, failed := attempt(t, func(t testing.TB) { Redis(t) })
	check.Equal(t, failed, os.Getuid() == 0, "whether it failed: %s", said)
	check.True(t, !failed || strings.Contains(said, "who may not enter "+dir+"; set TMPDIR"), "said: %s", said)
}

// trial is a test that may fail without failing the one it is part of.
type trial struct {
	testing.TB

	said     strings.Builder
	failed   bool
	cleanups []func()
}

func (t *trial) Helper()                   {}
func (t *trial) Failed() bool              { return t.failed }
func (t *trial) Cleanup(f func())          { t.cleanups = append(t.cleanups, f) }
func (t *trial) Logf(f string, a ...any)   { t.said.WriteString(fmt.Sprintf(f+"\n", a...)) }
func (t *trial) Errorf(f string, a ...any) { t.failed = true; t.Logf(f, a...) }
func (t *trial) Fatalf(f string, a ...any) { t.Errorf(f, a...); runtime.Goexit() }
func (t *trial) Fatal(a ...any)            { t.Fatalf("%v", a...) }

// attempt runs a test to its end and returns what it said.
func attempt(t *testing.T, test func(testing.TB)) (said string, failed bool) {
	t.Helper()
	x := &trial{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for len(x.cleanups) > 0 {
				last := len(x.cleanups) - 1
				f := x.cleanups[last]
				x.cleanups = x.cleanups[:last]
				f()
			}
		}()
		test(x)
	}()
	<-done
	return x.said.String(), x.failed
}
