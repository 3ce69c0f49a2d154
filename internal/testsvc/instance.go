package testsvc

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// patience bounds every wait for a server. A loaded machine may be slow, and nobody waits that long for nothing.
const patience = time.Minute

// instance is a server as a child process: a folder, a port, and a process most of the time.
type instance struct {
	service

	dir      string
	user     *syscall.Credential // nil: the one that runs the tests
	port     int
	password string
	watchdog *watchdog
	process  *process // nil: it does not run
	log      *journal // of the last run
}

var errPortTaken = errors.New("the port is taken")

// start makes a new server and returns when it answers. The ports are tried in turn.
func (s *service) start(lines []string, port func() int) (*instance, error) {
	i, err := s.create(lines)
	if err != nil {
		return nil, err
	}
	for range 10 {
		i.port = port()
		if err = i.launch(); !errors.Is(err, errPortTaken) {
			break
		}
	}
	if err != nil {
		i.remove()
		return nil, err
	}
	return i, nil
}

// create makes the folder.
func (s *service) create(lines []string) (*instance, error) {
	program, err := find(s.program, s.debian)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "testsvc-"+s.name+"-")
	if err != nil {
		return nil, fmt.Errorf("testsvc: no folder: %w", err)
	}
	i := &instance{service: *s, dir: dir, password: rand.Text()}
	i.program = program
	if i.watchdog, err = newWatchdog(dir); err != nil {
		_ = os.Remove(dir)
		return nil, err
	}
	if err = i.fill(lines); err != nil {
		i.remove()
		return nil, err
	}
	return i, nil
}

func (i *instance) fill(lines []string) error {
	if err := i.dropPrivileges(); err != nil {
		return err
	}
	if err := i.write(config, slices.Concat(i.settings, lines)); err != nil {
		return err
	}
	if i.prepare == nil {
		return nil
	}
	return i.prepare(i)
}

// dropPrivileges chooses the user whom the server runs as: PostgreSQL and MariaDB refuse to run as root.
func (i *instance) dropPrivileges() error {
	if os.Getuid() != 0 {
		return nil
	}
	var account *user.User
	for _, name := range i.users {
		if account, _ = user.Lookup(name); account != nil {
			break
		}
	}
	if account == nil {
		return fmt.Errorf("testsvc: %s does not run as root, and there is no user named %s", i.name, strings.Join(i.users, " or "))
	}
	uid, _ := strconv.Atoi(account.Uid)
	gid, _ := strconv.Atoi(account.Gid)
	i.user = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	for parent := filepath.Dir(i.dir); ; parent = filepath.Dir(parent) {
		if info, err := os.Stat(parent); err != nil || info.Mode()&1 == 0 {
			return fmt.Errorf("testsvc: %s runs as %s, who may not enter %s; set TMPDIR to a folder that is open to all, such as /tmp",
				i.name, account.Username, parent)
		}
		if parent == filepath.Dir(parent) {
			return os.Chown(i.dir, uid, gid)
		}
	}
}

func (i *instance) path(name string) string { return filepath.Join(i.dir, name) }
func (i *instance) addr() string            { return net.JoinHostPort("127.0.0.1", strconv.Itoa(i.port)) }

// write makes a file that the server may read and write.
func (i *instance) write(name string, lines []string) error {
	err := os.WriteFile(i.path(name), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
	if err == nil && i.user != nil {
		err = os.Chown(i.path(name), int(i.user.Uid), int(i.user.Gid))
	}
	return err
}

// command is a program that runs as the server's user, in its folder.
func (i *instance) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = i.dir
	cmd.Env = []string{"LC_ALL=C", "HOME=" + i.dir, "TMPDIR=" + i.dir, "PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: i.user} // an interrupt at the terminal is not for it
	return cmd
}

// run runs a program of the server's package to its end.
func (i *instance) run(program string, args ...string) error {
	path, err := find(program, i.debian)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out bytes.Buffer
	cmd := i.command(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err = cmd.Start(); err == nil {
		err = errors.Join(i.watchdog.watch(-cmd.Process.Pid), cmd.Wait(), i.watchdog.watch()) // it writes to the folder
	}
	if err != nil {
		return fmt.Errorf("testsvc: %s: %w\n%s", program, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// freePort is a port that nobody listens on right now. The system gives numbers from 32768 on to whoever asks for any, and
// to the near ends of connections; one of those could not be listened on again after a restart.
func freePort() int {
	for {
		port := 10000 + mrand.IntN(22000)                                              //nolint:gosec // whoever guesses it gains nothing
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))) //nolint:noctx // it does not wait
		if err == nil {
			_ = l.Close()
			return port
		}
	}
}

// launch starts the process and returns when it answers.
func (i *instance) launch() error {
	if err := i.spawn(); err != nil {
		return fmt.Errorf("testsvc: %s does not start: %w", i.name, err)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-i.log.ready:
		return nil
	case <-i.process.gone:
		i.process = nil
		err := fmt.Errorf("testsvc: %s ended before it answered:\n%s", i.name, i.log.tail())
		if i.log.contains("Address already in use") {
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		}
		return err
	case <-late.C:
		err := fmt.Errorf("testsvc: %s does not answer after %v:\n%s", i.name, patience, i.log.tail())
		return errors.Join(err, i.kill())
	}
}

// remove ends the server, if it runs, and removes its folder.
func (i *instance) remove() {
	_ = i.kill()
	i.watchdog.release()
}
