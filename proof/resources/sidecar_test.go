//go:build torture

package resources

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	if err := buildProxy(binary); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func buildProxy(to string, flags ...string) error {
	flags = append([]string{"build", "-C", "../../cmd/onceward", "-o", to}, flags...)
	out, err := exec.Command("go", flags...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("building the proxy: %w: %s", err, out)
	}
	return nil
}

// sidecar is a proxy at work, within its limits.
type sidecar struct {
	*exec.Cmd

	base string // where it listens
	log  tail
}

// sidecarOf is a proxy in front of a service. Within is the program that sets its limits and then becomes it, if any.
func sidecarOf(t *testing.T, program string, service *service, within []string, flags ...string) *sidecar {
	t.Helper()
	s, err := tryToStart(t, program, service, within, flags...)
	check.NoError(t, err, "starting the proxy; its log: %s", &s.log)
	return s
}

func tryToStart(t *testing.T, program string, service *service, within []string, flags ...string) (*sidecar, error) {
	t.Helper()
	proxy := []string{program, "proxy", "--to", service.URL, "--scope", "none", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"}
	words := slices.Concat(within, proxy, flags)
	s := &sidecar{Cmd: exec.CommandContext(t.Context(), words[0], words[1:]...)}
	s.Dir, s.Stderr = t.TempDir(), &s.log
	out, err := s.StdoutPipe()
	check.NoError(t, err, "a pipe")
	check.NoError(t, s.Start(), "starting %s", words[0])
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return s, fmt.Errorf("it does not listen: %w: %w", err, s.Wait())
	}
	t.Cleanup(func() { _ = s.Process.Kill(); _ = s.Wait() })
	s.base = strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	return s, nil
}

var adminLine = regexp.MustCompile(`admin=(http://\S+)`)

// watched is where it can be watched, which it says before it listens.
func (s *sidecar) watched(t *testing.T) string {
	t.Helper()
	var found []string
	eventually(t, "the address of /metrics", func() bool {
		found = adminLine.FindStringSubmatch(s.log.String())
		return found != nil
	})
	return found[1] + "/metrics"
}

// metrics are those without a label.
func metrics(t *testing.T, at string) map[string]float64 {
	t.Helper()
	response, err := http.Get(at)
	check.NoError(t, err, "asking for metrics")
	defer response.Body.Close()
	values := map[string]float64{}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			values[name] = n
		}
	}
	return values
}

// peak is the most memory that it has had, in MiB.
func (s *sidecar) peak(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Process.Pid))
	check.NoError(t, err, "the status of the proxy")
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	var kib int
	_, err = fmt.Sscan(after, &kib)
	check.NoError(t, err, "its peak")
	return kib >> 10
}

// eventually looks until it sees what it waits for, or the machine has had more than enough time.
func eventually(t *testing.T, what string, seen func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !seen(); time.Sleep(10 * time.Millisecond) {
		check.True(t, time.Now().Before(until), "not within a minute: %s", what)
	}
}

// tail is the end of what a process writes.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(p []byte) (int, error) {
	const enough = 4 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	if len(l.text) > 2*enough {
		l.text = append([]byte(nil), l.text[len(l.text)-enough:]...)
	}
	return len(p), nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
