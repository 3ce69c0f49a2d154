package kills

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
	"sync"
	"syscall"
	"time"
)

// pack is workers that are started again whenever they end.
type pack struct {
	config

	workers []worker
	starts  sync.WaitGroup
	moved   func(worker int, base string) // tells where a worker is, or that it is nowhere
	ended   func(killed bool)
}

type worker struct {
	mu      sync.Mutex
	process *os.Process // nil while it starts
}

// run keeps the workers alive until ctx ends, and then kills them. The error is that of a worker that did not start.
func (p *pack) run(ctx context.Context) error {
	errs := make([]error, len(p.workers))
	for i := range p.workers {
		p.starts.Go(func() {
			for ctx.Err() == nil && errs[i] == nil {
				errs[i] = p.live(ctx, i)
			}
		})
	}
	p.starts.Wait()
	return errors.Join(errs...)
}

// live is one life of a worker.
func (p *pack) live(ctx context.Context, i int) error {
	cmd, base, err := p.start()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })()
	w := &p.workers[i]
	w.set(cmd.Process)
	p.moved(i, base)
	err = cmd.Wait()
	w.set(nil)
	p.moved(i, "")
	var exit *exec.ExitError
	killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signaled() //nolint:forcetypeassert // on all that have signals
	if err != nil && !killed {
		return fmt.Errorf("a worker ended by itself: %w: %s", err, cmd.Stderr)
	}
	if ctx.Err() == nil {
		p.ended(killed)
	}
	return nil
}

func (w *worker) set(process *os.Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.process = process
}

// signal reports whether there was a worker to send it to.
func (w *worker) signal(s os.Signal) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.process != nil && w.process.Signal(s) == nil
}

// freeze stops a worker for a while. A frozen process looks dead, and is not.
func (w *worker) freeze(ctx context.Context, d time.Duration) bool {
	if !w.signal(syscall.SIGSTOP) {
		return false
	}
	pause(ctx, d)
	w.signal(syscall.SIGCONT)
	return true
}

// start starts a worker and waits until it serves.
func (c *config) start() (*exec.Cmd, string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(os.Args[0]) //nolint:gosec,noctx // ourselves, for as long as it lives
	cmd.Env = append(os.Environ(), variable+"="+string(text))
	cmd.Stderr = new(strings.Builder)
	if _, err = cmd.StdinPipe(); err != nil { // it ends with us
		return nil, "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err = cmd.Start(); err != nil {
		return nil, "", err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		ended := cmd.Wait()
		return nil, "", fmt.Errorf("a worker did not start: %w: %w: %s", err, ended, cmd.Stderr)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return cmd, strings.TrimSpace(line), nil
}
