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
	"strconv"
	"strings"
)

// beChild is this program as one of its children.
func beChild(as string, args []string) error {
	switch {
	case as == "server" && len(args) == 3:
		return serve(args[0], args[1], args[2])
	case (as == "filler" || as == "opener") && len(args) == 2:
		records, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return map[string]func(string, int) error{"filler": fillStore, "opener": openStore}[as](args[0], records)
	default:
		return fmt.Errorf("-as %s %q: only this program itself starts its children", as, args)
	}
}

func childCommand(as string, args ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.Background(), self, append([]string{"-as", as}, args...)...) //nolint:gosec // itself
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// process is a server that runs as a child, so that it can be asked what it uses.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	answers *json.Decoder
	addr    string
}

func startProcess(server, to, profile string) (*process, error) {
	cmd, err := childCommand("server", server, to, profile)
	if err != nil {
		return nil, err
	}
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

func (p *process) address() string { return p.addr }

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
