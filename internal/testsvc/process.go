package testsvc

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
)

// process is a run of a server.
type process struct {
	*os.Process

	gone   chan struct{} // closed when the last of the processes is gone
	paused []int         // what it has started, while it is paused
}

// spawn starts a run. The processes that a server starts write to the same pipe, so its end means that all of them are gone.
func (i *instance) spawn() error {
	i.log = &journal{mark: []byte(i.ready), ready: make(chan struct{})}
	cmd := i.command(context.Background(), i.program, i.args(i)...)
	cmd.Stdout, cmd.Stderr = i.log, i.log
	if err := cmd.Start(); err != nil {
		return err
	}
	p := &process{Process: cmd.Process, gone: make(chan struct{})}
	i.process = p
	err := i.watchdog.watch(p.Pid)
	go func() {
		_ = cmd.Wait()
		_ = i.watchdog.watch() // the number is free for others now
		close(p.gone)
	}()
	return err
}

// await returns when all of the processes are gone.
func (i *instance) await(how string) error {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case <-i.process.gone:
		i.process = nil
		return nil
	case <-late.C:
		return fmt.Errorf("testsvc: %s still runs %v after %s:\n%s", i.name, patience, how, i.log.tail())
	}
}

// kill ends all of the processes as a crash of the machine does, except that the kernel keeps what was written to it.
func (i *instance) kill() error {
	if i.process == nil {
		return nil
	}
	_ = i.pause() // so that it starts no more
	_ = i.process.Kill()
	for _, pid := range i.process.paused {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return i.await("kill -9")
}

// end asks the server to end.
func (i *instance) end() error {
	if i.process == nil {
		return nil
	}
	if err := i.resume(); err != nil {
		return err
	}
	_ = i.process.Signal(i.stop)
	return i.await(i.stop.String())
}

func (i *instance) pause() error {
	p := i.process
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return nil //nolint:nilerr // it has ended by itself, and whoever waits for it sees that
	}
	awaitStop(p.Pid)
	p.paused = children(p.Pid)
	for _, pid := range p.paused {
		_ = syscall.Kill(pid, syscall.SIGSTOP)
	}
	for _, pid := range p.paused {
		awaitStop(pid)
	}
	return i.watchdog.watch(append(p.paused, p.Pid)...)
}

func (i *instance) resume() error {
	p := i.process
	for _, pid := range p.paused {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	p.paused = nil
	_ = p.Signal(syscall.SIGCONT)
	return i.watchdog.watch(p.Pid)
}

// journal keeps the end of what a server logs, and sees when the server is ready. It is safe for concurrent use.
type journal struct {
	mark  []byte
	ready chan struct{}

	mu   sync.Mutex
	text []byte
	seen bool
}

func (j *journal) Write(p []byte) (int, error) {
	const kept = 16 << 10
	j.mu.Lock()
	defer j.mu.Unlock()
	j.text = append(j.text, p...)
	if !j.seen && bytes.Contains(j.text, j.mark) {
		j.seen = true
		close(j.ready)
	}
	if len(j.text) > 2*kept {
		j.text = append([]byte(nil), j.text[len(j.text)-kept:]...)
	}
	return len(p), nil
}

func (j *journal) contains(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return bytes.Contains(j.text, []byte(text))
}

// tail is the last 30 lines.
func (j *journal) tail() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(j.text), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-30):], []byte("\n")))
}
