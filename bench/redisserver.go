package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

var redisService = &service{
	name: "Redis", program: "redis-server", debian: "redis-server", ready: "Ready to accept connections", signal: "KILL",
}

// redisServer is a Redis of its own, and a connection on which it is asked what it uses.
type redisServer struct {
	running *running
	dir     string
	addr    string
	conn    net.Conn
	answers *bufio.Reader
}

// startRedis starts a Redis with nothing in it. Settings are those of its command line; by default nothing is on disk.
func startRedis(scratch string, settings ...string) (*redisServer, error) {
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

func (r *redisServer) start(settings []string) error {
	host, port, err := freeAddress()
	if err != nil {
		return err
	}
	args := []string{"--bind", host, "--port", port, "--dir", r.dir, "--save", "", "--appendonly", "no"}
	if r.running, err = redisService.start(nil, r.dir, append(args, settings...)...); err != nil {
		return err
	}
	r.addr = net.JoinHostPort(host, port)
	if r.conn, err = new(net.Dialer).DialContext(context.Background(), "tcp", r.addr); err != nil {
		return err
	}
	r.answers = bufio.NewReader(r.conn)
	return nil
}

func (r *redisServer) address() string { return r.addr }

func (r *redisServer) end() error {
	if r.conn != nil {
		_ = r.conn.Close()
	}
	if r.running != nil {
		r.running.end()
	}
	return os.RemoveAll(r.dir)
}

// used is what Redis says. It is finer than the ticks of /proc, of which there are thirty in a sample.
func (r *redisServer) used() (u usage, err error) {
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
	u.Server = u.CPU
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
