package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// httpTable is a handler that answers with 200 bytes, over loopback TCP. Servers start anew for each sample, so that none
// pays for the records of another round; connections and pools are warmed up before anything is timed.
func httpTable() *table {
	const bare, fiber = "net/http, bare", "fiber, bare"
	return &table{
		name:  "http",
		title: fmt.Sprintf("HTTP over loopback, %d connections", connections),
		rows: []row{
			{name: bare, sample: overHTTP("net/http", false)},
			{name: "net/http, body read and hashed", against: bare, sample: overHTTP("net/http, hashing", false)},
			{
				name: "oncehttp, fresh", against: bare, sample: overHTTP("oncehttp", false),
				targets: []target{speed(0.75), extraAllocations(16)},
			},
			{
				name: "oncehttp, replay", against: bare, sample: overHTTP("oncehttp", true),
				targets: []target{speed(0.88), extraAllocations(16)},
			},
			{name: fiber, sample: overHTTP("fiber", false)},
			{name: "fiber idempotency, fresh", against: fiber, sample: overHTTP("fiber idempotency", false)},
			{name: "fiber idempotency, replay", against: fiber, sample: overHTTP("fiber idempotency", true)},
		},
	}
}

func overHTTP(server string, replay bool) func(time.Duration, string) (sample, error) {
	return func(length time.Duration, profile string) (s sample, err error) {
		p, err := startProcess(server, profile)
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, p.end()) }()
		l, err := dial(p.addr, replay)
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, l.close()) }()
		if replay {
			if err := l.prepare(); err != nil {
				return s, err
			}
		}
		if _, _, err := l.run(length / 4); err != nil {
			return s, err
		}
		return p.sample(l, length)
	}
}

// process is a server that runs as a child, so that it can be asked what it uses.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	answers *json.Decoder
	addr    string
}

func startProcess(server, profile string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), self, //nolint:gosec // this program itself
		"-serve", server, "-serveprofile", profile)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, in: in, out: bufio.NewReader(out)}
	p.answers = json.NewDecoder(p.out)
	line, err := p.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server %s did not say where it listens: %w", server, err), p.end())
	}
	p.addr = strings.TrimSpace(line)
	return p, nil
}

func (p *process) end() error {
	_ = p.in.Close() // if it is gone already, Wait says why
	return p.cmd.Wait()
}

func (p *process) used() (u usage, err error) {
	if _, err := p.in.Write([]byte("\n")); err != nil {
		return u, err
	}
	return u, p.answers.Decode(&u)
}

func (p *process) sample(l *load, length time.Duration) (s sample, err error) {
	before, err := p.used()
	if err != nil {
		return s, err
	}
	mine := used()
	s.ops, s.elapsed, err = l.run(length)
	if err != nil {
		return s, err
	}
	mineAfter := used()
	after, err := p.used()
	if err != nil {
		return s, err
	}
	ran := int(after.Runs - before.Runs)
	if want := map[bool]int{false: s.ops, true: 0}[l.replay]; ran != want {
		return s, fmt.Errorf("the handler ran %d times for %d requests, and had to run %d times", ran, s.ops, want)
	}
	s.cpu = after.CPU - before.CPU + mineAfter.CPU - mine.CPU
	s.allocs = after.Allocs - before.Allocs
	return s, nil
}
