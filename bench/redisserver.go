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
	"strconv"
	"strings"
	"time"
)

func wantRedis() error {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return fmt.Errorf("%w; run: apt-get update && apt-get install -y --no-install-recommends redis-server", err)
	}
	return nil
}

// redisServer is a Redis of its own, and a connection on which it is asked what it uses.
type redisServer struct {
	cmd     *exec.Cmd
	in      io.Closer // at whose end it is killed
	dir     string
	addr    string
	conn    net.Conn
	answers *bufio.Reader
}

// whileRead runs a server until nobody holds the other end of its input any more, so that none is left over by a program
// that was killed. Nothing has to be kept, so the server is killed too, which is quicker.
const whileRead = `"$@" & exec >/dev/null 2>&1; cat; kill -9 $!; wait`

// startRedis starts a Redis with nothing in it. Settings are those of its command line; by default nothing is on disk.
func startRedis(scratch string, settings ...string) (*redisServer, error) {
	if err := wantRedis(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(scratch, "redis-")
	if err != nil {
		return nil, err
	}
	r := &redisServer{dir: dir}
	if err := r.start(settings); err != nil {
		return nil, errors.Join(err, r.end())
	}
	return r, nil
}

func (r *redisServer) start(settings []string) (err error) {
	if r.addr, err = freeAddress(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(r.addr)
	args := append([]string{
		"-c", whileRead, "sh", "redis-server",
		"--bind", "127.0.0.1", "--port", port, "--dir", r.dir, "--save", "", "--appendonly", "no",
	}, settings...)
	r.cmd = exec.CommandContext(context.Background(), "sh", args...) //nolint:gosec // the settings are our own
	if r.in, err = r.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	r.cmd.Stderr = r.cmd.Stdout // where it says which setting is wrong
	if err := r.cmd.Start(); err != nil {
		return err
	}
	if err := awaitReady(out); err != nil {
		return err
	}
	if r.conn, err = new(net.Dialer).DialContext(context.Background(), "tcp", r.addr); err != nil {
		return err
	}
	r.answers = bufio.NewReader(r.conn)
	return nil
}

// freeAddress is one that nobody listens on. Redis cannot say which port it has chosen, so it is told one.
func freeAddress() (string, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// awaitReady reads what Redis logs until it answers. Nobody reads the rest, but it must not fill the pipe.
func awaitReady(out io.Reader) error {
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), "Ready to accept connections") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return nil
		}
		said.WriteString(lines.Text() + "\n")
	}
	return fmt.Errorf("redis-server ended before it was ready, and said:\n%s", &said)
}

func (r *redisServer) address() string { return r.addr }

func (r *redisServer) end() error {
	if r.conn != nil {
		_ = r.conn.Close()
	}
	if r.cmd != nil && r.cmd.Process != nil {
		_ = r.in.Close()
		_ = r.cmd.Wait() // if the server was gone already, whatever it was asked has failed
	}
	return os.RemoveAll(r.dir)
}

// used is what Redis says, and nothing where there is none. It is finer than the ticks of /proc, of which there are thirty
// in a sample.
func (r *redisServer) used() (u usage, err error) {
	if r == nil {
		return u, nil
	}
	info, err := r.ask("INFO cpu")
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_sys" && name != "used_cpu_user" {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return u, fmt.Errorf("%s of INFO cpu: %w", name, err)
		}
		u.CPU += time.Duration(seconds * float64(time.Second))
	}
	u.Redis = u.CPU
	return u, nil
}

// ask sends a command whose arguments hold no spaces, and returns what Redis answers: a status, a number or a string.
func (r *redisServer) ask(command string) (string, error) {
	if _, err := io.WriteString(r.conn, command+"\r\n"); err != nil {
		return "", err
	}
	head, err := r.answers.ReadString('\n')
	if err != nil {
		return "", err
	}
	value := strings.TrimSpace(head[1:])
	if head[0] == '+' || head[0] == ':' {
		return value, nil
	}
	length, err := strconv.Atoi(value)
	if head[0] != '$' || err != nil || length < 0 {
		return "", fmt.Errorf("Redis answers %q to %s", head, command) //nolint:staticcheck // it is a name
	}
	text := make([]byte, length+len("\r\n"))
	_, err = io.ReadFull(r.answers, text)
	return string(text[:length]), err
}
