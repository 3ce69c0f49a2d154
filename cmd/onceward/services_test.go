package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/onceward/onceward/cmd/onceward/internal/demo"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/oncehttp"
)

// Services in other languages, which know nothing of keys and really die, do behind the proxy what the demo does. Both are
// started by the commands that the page shows, but for the ports and the files.
func TestServicesInOtherLanguages(t *testing.T) {
	page, err := os.ReadFile("../../examples/services/README.md")
	check.NoError(t, err, "reading the page")
	for _, s := range []struct{ name, check, packages string }{
		{"FastAPI", `/usr/bin/python3 -c 'import fastapi, uvicorn'`, "python3-fastapi python3-uvicorn"},
		{"Express", `NODE_PATH=/usr/share/nodejs node -e 'require("express")'`, "nodejs node-express"},
	} {
		t.Run(s.name, func(t *testing.T) {
			if out, err := exec.CommandContext(t.Context(), "bash", "-c", s.check).CombinedOutput(); err != nil {
				t.Fatalf("%s is missing; run: apt-get update && apt-get install -y --no-install-recommends %s\n%s", s.name, s.packages, out)
			}
			_, section, found := strings.Cut(string(page), "\n## "+s.name+"\n")
			check.True(t, found, "the page has no %s", s.name)
			blocks := block.FindAllStringSubmatch(section, 2)
			check.Equal(t, len(blocks), 2, "blocks: the service and the proxy")
			passesTheDemo(t, blocks[0][1], blocks[1][1])
		})
	}
}

// passesTheDemo starts the service and the proxy, and tries every step of the demo.
func passesTheDemo(t *testing.T, serviceCommand, proxyCommand string) {
	t.Helper()
	s := startService(t, serviceCommand)
	_, flags, found := strings.Cut(strings.TrimSpace(proxyCommand), "./onceward ")
	check.True(t, found, "no proxy in %q", proxyCommand)
	guard := func(dir string, more ...string) *process {
		args := strings.Fields(strings.ReplaceAll(flags, "3000", s.port))
		return start(t, append(append(args, "--listen", "127.0.0.1:0", "--store", dir), more...)...)
	}
	dir := filepath.Join(t.TempDir(), "data")
	p := guard(dir)
	keyless := guard(filepath.Join(t.TempDir(), "data"), "--key", "derive")

	scope, err := oncehttp.SingleTenant(nil) // that of --scope none
	check.NoError(t, err, "the scope")
	steps := demo.Steps(&demo.Place{Base: p.base, Scope: scope, Command: binary, Store: dir})
	check.Equal(t, len(steps), len(outcomes), "steps")
	for i, step := range steps {
		s.await(t)
		outcomes[i].try(t, step.Shows, strings.ReplaceAll(step.Command, p.base+demo.Keyless, keyless.base+"/api/payments"))
	}
	ledger, err := os.ReadFile(s.ledger)
	check.NoError(t, err, "the ledger")
	check.Equal(t, bytes.Count(ledger, []byte("\n")), 5, "payments in\n%s", ledger)
	p.stop(t)
	keyless.stop(t)
}

// service is one that starts again when it dies.
type service struct {
	port, ledger string
}

// startService runs a command of the page, with a port and a ledger of its own.
func startService(t *testing.T, command string) *service {
	t.Helper()
	s := &service{strings.TrimPrefix(vacant(t), "127.0.0.1:"), filepath.Join(t.TempDir(), "payments.jsonl")}
	bash := exec.CommandContext(t.Context(), "bash", "-c", strings.ReplaceAll(command, "3000", s.port))
	bash.Dir, bash.Env = "../..", append(os.Environ(), "LEDGER="+s.ledger)
	bash.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the end of the test is also that of what bash has started
	bash.Cancel = func() error { return syscall.Kill(-bash.Process.Pid, syscall.SIGKILL) }
	var out bytes.Buffer
	bash.Stdout, bash.Stderr = &out, &out
	check.NoError(t, bash.Start(), "starting the service")
	t.Cleanup(func() {
		_ = bash.Wait()
		if t.Failed() {
			t.Logf("the service said:\n%s", &out)
		}
	})
	return s
}

// await returns when the service answers.
func (s *service) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range time.Tick(20 * time.Millisecond) { // it cannot say by itself that it is there
		check.NoError(t, ctx.Err(), "the service does not start")
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+s.port+"/api/payments", nil)
		check.NoError(t, err, "a request")
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			continue
		}
		check.NoError(t, response.Body.Close(), "the answer")
		if response.StatusCode == http.StatusOK {
			return
		}
	}
}
