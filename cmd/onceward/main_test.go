package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/onceward/onceward/internal/check"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "onceward-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "onceward")
	if out, err := exec.CommandContext(context.Background(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// process is the binary at work.
type process struct {
	*exec.Cmd
	base   string // where it listens
	out    *bufio.Reader
	errs   text
	exited chan error
}

func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.CommandContext(t.Context(), binary, args...), exited: make(chan error, 1)}
	p.Dir = t.TempDir() // where a command leaves its data that is not told where
	p.Stderr = &p.errs
	stdout, out, err := os.Pipe()
	check.NoError(t, err, "a pipe")
	p.Stdout, p.out = out, bufio.NewReader(stdout)
	check.NoError(t, p.Start(), "starting the binary")
	check.NoError(t, out.Close(), "closing our end of the pipe")
	go func() { p.exited <- p.Wait() }()
	t.Cleanup(func() { _ = p.Process.Kill(); _ = stdout.Close() })
	line, err := p.out.ReadString('\n')
	check.NoError(t, err, "the first line")
	base, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	check.True(t, ok, "the first line: %q", line)
	p.base = base
	return p
}

// stop ends the process and returns what it printed since.
func (p *process) stop(t *testing.T) string {
	t.Helper()
	check.NoError(t, p.Process.Signal(syscall.SIGTERM), "SIGTERM")
	out, err := io.ReadAll(p.out)
	check.NoError(t, err, "the output")
	select {
	case err = <-p.exited:
	case <-time.After(20 * time.Second):
		t.Fatal("it does not end")
	}
	check.NoError(t, err, "its end, after %s", p.errs.String())
	return string(out)
}

// Every command that the demo prints is run as it stands, and does what the line above it says.
func TestDemoDoesWhatItSays(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Fatal("curl is missing; run: apt-get update && apt-get install -y --no-install-recommends curl")
	}
	p := start(t, "demo", "--listen", "127.0.0.1:0")
	for i := range outcomes {
		title, command := p.nextStep(t)
		outcomes[i].try(t, title, command)
	}
	rest := p.stop(t)
	check.Equal(t, strings.Count(rest, "curl"), 0, "commands that were not tried: %s", rest)
}

var title = regexp.MustCompile(`^\d+\. (.*)\n$`)

// nextStep reads on to the next numbered line, and the command below it.
func (p *process) nextStep(t *testing.T) (says, command string) {
	t.Helper()
	for {
		line, err := p.out.ReadString('\n')
		check.NoError(t, err, "looking for the next command")
		if match := title.FindStringSubmatch(line); match != nil {
			says = match[1]
		} else if command = strings.TrimSpace(line); says != "" && command != "" {
			return says, command
		}
	}
}

func TestTermLetsRequestsComeToTheirEnd(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	goOn := sync.OnceFunc(func() { close(leave) })
	defer goOn()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(entered)
		<-leave
		_, _ = io.WriteString(w, "made")
	}))
	t.Cleanup(service.Close)
	p := (&shop{Server: service}).guard(t, t.TempDir())

	type reply struct {
		body string
		kept bool
		err  error
	}
	answered := make(chan reply)
	go func() {
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, p.base+"/orders", nil)
		r.Header.Set("Idempotency-Key", "k")
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			answered <- reply{err: err}
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		answered <- reply{string(body), response.Header.Get("Idempotency-Expires") != "", err}
	}()
	select {
	case <-entered:
	case early := <-answered:
		t.Fatalf("an answer that the service did not give: %+v", early)
	}
	check.NoError(t, p.Process.Signal(syscall.SIGTERM), "SIGTERM")
	for refused := false; !refused; { // the test's own deadline bounds it
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
		if refused = err != nil; !refused {
			_ = conn.Close()
		}
	}
	select {
	case err := <-p.exited:
		t.Fatalf("it ended while a request ran: %v", err)
	default:
	}
	goOn()
	check.Equal(t, <-answered, reply{"made", true, nil}, "the answer, and whether it was stored first")
	check.NoError(t, <-p.exited, "its end, after %s", p.errs.String())
	check.True(t, strings.Contains(p.errs.String(), "; a second signal ends it at once"), "the log: %s", p.errs.String())
}
