package kills

import (
	"bufio"
	"cmp"
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

	"github.com/onceward/onceward/internal/sleep"
)

// pack is workers that are started again whenever they end.
type pack struct {
	config

	previous string  // the program of every other worker, if there is one
	points   *points // where workers die, nil if nowhere
	workers  []worker
	starts   sync.WaitGroup
	moved    func(worker int, base string) // tells where a worker is, or that it is nowhere
	ended    func(killed bool)
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
	said := &lastWords{points: p.points, frozen: func() { p.moved(i, "") }} // clients would all end up waiting for it
	c := p.config
	if i%2 == 1 {
		c.Program = cmp.Or(p.previous, c.Program)
	}
	cmd, base, err := c.start(said)
	if err != nil && said.killed { // it passed its point while it started
		p.ended(true)
		return nil
	}
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
		return fmt.Errorf("a worker ended by itself: %w: %s", err, said)
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
	sleep.For(ctx, d)
	w.signal(syscall.SIGCONT)
	return true
}

// start starts a worker and waits until it serves.
func (c *config) start(said *lastWords) (*exec.Cmd, string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(cmp.Or(c.Program, os.Args[0]), c.Args...) //nolint:gosec,noctx // ours, for as long as it lives
	cmd.Env = append(os.Environ(), variable+"="+string(text), "ONCEWARD_FAILPOINT="+said.points.next())
	cmd.Stderr = said
	said.thaw = func() {
		time.AfterFunc(c.Lease+c.Lease/2, func() {
			_ = errors.Join(cmd.Process.Signal(syscall.SIGCONT), cmd.Process.Signal(syscall.SIGTERM))
		})
	}
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
		return nil, "", fmt.Errorf("a worker did not start: %w: %w: %s", err, ended, said)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return cmd, strings.TrimPrefix(strings.TrimSpace(line), "listening on "), nil
}
