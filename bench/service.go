package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// service is a server that is not ours, with which rows are measured.
type service struct {
	name    string // as the column of its CPU is headed
	program string
	debian  string // the package that has the program
	ready   string // what it logs when it answers
	signal  string // what ends it at once
	logs    bool   // what it writes to its log has a column
}

// want reports what is missing here.
func (s *service) want() error {
	_, err := find(s.program, s.debian)
	return err
}

// columns are those of a table that is about the service, after the CPU of all.
func (s *service) columns() []string {
	if s.logs {
		return []string{"of it " + s.name, "log B/op"}
	}
	return []string{"of it " + s.name}
}

func (s *service) cells(f figures) []string {
	server := fmt.Sprintf("%.0f", f.server)
	if s.logs {
		return []string{server, fmt.Sprintf("%.0f", f.logged)}
	}
	return []string{server}
}

// find is where a program is. Debian keeps some servers where no PATH leads.
func find(program, debian string) (string, error) {
	path, err := exec.LookPath(program)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/lib/postgresql/*/bin"} {
		if found, _ := filepath.Glob(filepath.Join(dir, program)); len(found) > 0 {
			return slices.Max(found), nil
		}
	}
	return "", fmt.Errorf("%w; run: apt-get update && apt-get install -y --no-install-recommends %s", err, debian)
}

// running is a service that runs.
type running struct {
	cmd *exec.Cmd
	in  io.Closer // at whose end it is killed
}

// whileRead runs a server until nobody holds the other end of its input any more, so that none is left over by a program
// that was killed. Nothing has to be kept, so the server is killed too, which is quicker.
const whileRead = `signal=$1; shift; "$@" & exec >/dev/null 2>&1; cat; kill -s "$signal" $!; wait`

// start returns when the service answers.
func (s *service) start(as *syscall.Credential, dir string, args ...string) (*running, error) {
	program, err := find(s.program, s.debian)
	if err != nil {
		return nil, err
	}
	r := &running{cmd: command(as, dir, "sh", append([]string{"-c", whileRead, "sh", s.signal, program}, args...)...)}
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	r.cmd.Stderr = r.cmd.Stdout // where it says which setting is wrong
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	if err := s.awaitReady(out); err != nil {
		r.end()
		return nil, err
	}
	return r, nil
}

// command is a program that runs as that user, or as this one, and keeps to that directory.
func command(as *syscall.Credential, dir, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir, "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	return cmd
}

// awaitReady reads what the service logs until it answers. Nobody reads the rest, but it must not fill the pipe.
func (s *service) awaitReady(out io.Reader) error {
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), s.ready) {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return nil
		}
		said.WriteString(lines.Text() + "\n")
	}
	return fmt.Errorf("%s ended before it was ready, and said:\n%s", s.program, &said)
}

func (r *running) end() {
	_ = r.in.Close()
	_ = r.cmd.Wait() // if the server was gone already, whatever it was asked has failed
}

// freeAddress is one that nobody listens on. Servers that cannot say which port they have chosen are told one.
func freeAddress() (host, port string, err error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	host, port, err = net.SplitHostPort(listener.Addr().String())
	return host, port, errors.Join(err, listener.Close())
}
