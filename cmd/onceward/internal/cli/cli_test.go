package cli

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

// run runs a subcommand that nobody lets begin to serve: its time is over.
func run(args ...string) (code int, out, errs string) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stdout, stderr bytes.Buffer
	code = Main(ctx, args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func TestVersion(t *testing.T) {
	code, out, _ := run("version")
	check.Equal(t, code, 0, "exit code")
	check.True(t, strings.HasPrefix(out, "onceward ") && strings.Contains(out, " go1."), "version: %q", out)
	code, same, _ := run("--version")
	check.Equal(t, code, 0, "exit code of --version")
	check.Equal(t, same, out, "--version")
}

// full is a writer for which there is room no more.
type full struct{ room int }

func (f *full) Write(p []byte) (int, error) {
	n := min(f.room, len(p))
	f.room -= n
	if n < len(p) {
		return n, syscall.ENOSPC
	}
	return n, nil
}

func TestOutputThatIsLostIsAFailure(t *testing.T) {
	p := &place{dir: filepath.Join(t.TempDir(), "data")}
	p.post(t, doubt)
	for _, args := range [...][]string{
		{"version"}, {"--help"}, {"key", "new"}, {"keys", "list", "--store", p.dir}, {"stats", "--json", "--store", p.dir},
	} {
		var errs bytes.Buffer
		code := Main(t.Context(), args, &full{room: 1}, &errs)
		check.Equal(t, code, 1, "exit code of %q", args)
		check.Equal(t, errs.String(), "onceward: not all output could be written: no space left on device\n", "what %q says", args)
	}
}

func TestWrongCallsAreExplained(t *testing.T) {
	right := []string{"proxy", "--to", "http://127.0.0.1:1", "--scope", "none", "--listen", "127.0.0.1:0", "--store", "memory:"}
	for _, c := range [...]struct {
		args []string
		says []string
	}{
		{[]string{"prxy"}, []string{`"prxy"`}},
		{[]string{"version", "now"}, []string{`"now"`}},
		{[]string{"demo", "--listen", "8080"}, []string{"--listen", `"8080"`, "HOST:PORT"}},
		{[]string{"proxy", "--scope", "none"}, []string{"--to", "http://"}},
		{[]string{"proxy", "--to", "http://a"}, []string{"--scope", "authorization", "basic-user", "header:NAME", "none"}},
		{[]string{"proxy"}, []string{"--to is missing", "--scope is missing"}},
		{[]string{"proxy", "http://a"}, []string{`"http://a"`, "the service goes in --to"}},
		{[]string{"proxy", "--scop", "none"}, []string{"unknown flag: --scop", "did you mean --scope?"}},
		{[]string{"demo", "--listne", ":0"}, []string{"unknown flag: --listne", "did you mean --listen?"}},
		{[]string{"demo", "--listen", "127.0.0.1:99999"}, []string{"--listen", `"127.0.0.1:99999"`, "65535"}},
		{[]string{"--listen", "127.0.0.1:http"}, []string{"--listen", `"127.0.0.1:http"`, "HOST:PORT"}},
		{[]string{"--to", "http://a:99999"}, []string{"--to", `"http://a:99999"`, "65535"}},
		{[]string{"--scope", "header:Date"}, []string{"--scope", `"header:Date"`, "differs with each request"}},
		{[]string{"--scope", "ip"}, []string{"--scope", `"ip"`, "authorization", "basic-user", "header:NAME", "none"}},
		{[]string{"--to", "ftp://a"}, []string{"--to", `"ftp://a"`, "http://", "https://"}},
		{[]string{"--to", "http://a?b"}, []string{"--to", `"http://a?b"`}},
		{[]string{"--to", "http://:80"}, []string{"--to", `"http://:80"`}},
		{[]string{"--listen", "8080"}, []string{"--listen", `"8080"`, "HOST:PORT"}},
		{[]string{"--store", "nats://u:secret@a"}, []string{"--store", "nats://u:", "memory:", "redis"}},
		{[]string{"--store", "memory://a"}, []string{"--store", `"memory://a"`, "memory:"}},
		{[]string{"--store", "memory:a"}, []string{"--store", `"memory:a"`, "memory:"}},
		{[]string{"--store", "://secret"}, []string{"--store", "memory:"}},
		{[]string{"--store", ""}, []string{"--store", `""`, "./onceward-data", "memory:"}},
		{[]string{"--admin", "0.0.0.0:9090"}, []string{"--admin", `"0.0.0.0:9090"`, "127.0.0.1:9090"}},
		{[]string{"--admin", ":9090"}, []string{"--admin", `":9090"`, "127.0.0.1:9090"}},
		{[]string{"--admin", "9090"}, []string{"--admin", `"9090"`, "HOST:PORT"}},
		{[]string{"--key", "maybe"}, []string{"--key", `"maybe"`, "optional", "required", "derive"}},
		{[]string{"--methods", "POST,GET"}, []string{"--methods", `"POST,GET"`, "POST"}},
		{[]string{"--methods", "post"}, []string{"--methods", `"post"`, "POST"}},
		{[]string{"--methods", ""}, []string{"--methods", `""`, "POST"}},
		{[]string{"--on-crash", "retry"}, []string{"--on-crash", `"retry"`, "hold", "rerun"}},
		{[]string{"--lease", "30"}, []string{"--lease", `"30"`, "1ms", "30s"}},
		{[]string{"--lease", "0s"}, []string{"--lease", `"0s"`, "1ms"}},
		{[]string{"--lease", "48h"}, []string{"--lease 48h", "--retention 24h"}},
		{[]string{"--lease", "11m", "--key", "derive"}, []string{"--lease 11m", "--derived-retention 10m"}},
		{[]string{"--derived-retention", "0s"}, []string{"--derived-retention", `"0s"`, "1ms"}},
		{[]string{"--key-max-age", "24h"}, []string{"--key-max-age 24h", "--retention 24h", "5m"}},
		{[]string{"--min-free", "0"}, []string{"--min-free", `"0"`, "at least 1"}},
		{[]string{"--max-body", "2GiB"}, []string{"--max-body", "--max-bodies"}},
		{[]string{"--max-bodies", "0"}, []string{"--max-bodies", `"0"`, "at least 1"}},
		{[]string{"--body-timeout", "0s"}, []string{"--body-timeout", `"0s"`, "1ms"}},
		{[]string{"--client-idle", "0s"}, []string{"--client-idle", `"0s"`, "1ms"}},
		{[]string{"--drain", "-1s"}, []string{"--drain", `"-1s"`, "0s"}},
		{[]string{"--max-execution", "-1s"}, []string{"--max-execution", `"-1s"`}},
		{[]string{"--retention", "1d"}, []string{"--retention", `"1d"`, "24h"}},
		{[]string{"--wait", "-1s"}, []string{"--wait", `"-1s"`, "0s"}},
		{[]string{"--max-body", "16MB"}, []string{"--max-body", `"16MB"`, "16MiB"}},
		{[]string{"--max-outcome", "0"}, []string{"--max-outcome", `"0"`, "at least 1"}},
		{[]string{"--max-body", "9999999999GiB"}, []string{"--max-body", "9999999999GiB"}},
		{[]string{"--upstream-idle", "soon"}, []string{"--upstream-idle", `"soon"`, "0s"}},
		{[]string{"--log-format", "xml"}, []string{"--log-format", `"xml"`, "text", "json"}},
		{[]string{"--log-level", "loud"}, []string{"--log-level", `"loud"`, "debug", "info", "warn", "error"}},
	} {
		args := c.args
		if strings.HasPrefix(args[0], "--") {
			args = append(slices.Clone(right), args...)
		}
		code, out, errs := run(args...)
		check.Equal(t, code, 2, "exit code of %q, which says %s%s", c.args, out, errs)
		check.Equal(t, out, "", "what %q prints to stdout", c.args)
		for _, word := range c.says {
			check.True(t, strings.Contains(errs, word), "%q: no %s in %s", c.args, word, errs)
		}
		check.True(t, !strings.Contains(errs, "secret"), "%q: a password is shown: %s", c.args, errs)
	}
	code, _, errs := run(right...)
	check.Equal(t, code, 0, "exit code of a right call, which says %s", errs)
}

func TestAnotherScopeIsRefusedUnlessAccepted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	proxy := func(scope string, more ...string) (code int, out, errs string) {
		return run(append([]string{"proxy", "--to", "http://127.0.0.1:1", "--scope", scope, "--listen", "127.0.0.1:0",
			"--store", dir}, more...)...)
	}
	code, _, errs := proxy("authorization")
	check.Equal(t, code, 0, "exit code of the first start, which says %s", errs)
	code, out, errs := proxy("none")
	check.Equal(t, code, 1, "exit code with another scope")
	check.Equal(t, out, "", "what it prints")
	for _, word := range []string{"--scope", "--accept-scope", dir} {
		check.True(t, strings.Contains(errs, word), "no %s in %s", word, errs)
	}
	code, _, errs = proxy("none", "--accept-scope")
	check.Equal(t, code, 0, "exit code when it is accepted, which says %s", errs)
}

func TestFarFlagsAreNotSuggested(t *testing.T) {
	_, _, errs := run("proxy", "--upstream", "http://a")
	check.True(t, strings.Contains(errs, "unknown flag: --upstream") && !strings.Contains(errs, "mean"), "what it says: %s", errs)
}

func TestDistances(t *testing.T) {
	for _, c := range [...]struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abxc", 1}, {"abc", "ac", 1}, {"abc", "axc", 1},
		{"abc", "acb", 2}, {"kitten", "sitting", 3},
	} {
		check.Equal(t, distance(c.a, c.b), c.want, "%s to %s", c.a, c.b)
	}
}

func TestOperatorIsToldWhatTheScopeMeans(t *testing.T) {
	for _, scope := range []string{"authorization", "basic-user", "header:X-User", "none"} {
		_, _, errs := run("proxy", "--to", "http://127.0.0.1:1", "--scope", scope, "--listen", "127.0.0.1:0",
			"--store", "memory:", "--log-format", "json")
		first, _, _ := strings.Cut(errs, "\n")
		check.True(t, strings.Contains(first, `"scope":"`+scope+`"`), "%s: it is not what the log begins with: %s", scope, errs)
	}
}

func TestOperatorIsToldWhatIsSet(t *testing.T) {
	_, _, errs := run("proxy", "--to", "http://127.0.0.1:1/api", "--scope", "none", "--listen", "127.0.0.1:0",
		"--methods", "PUT,POST", "--key", "required", "--on-crash", "rerun", "--retention", "72h", "--store", "memory:")
	want := `level=INFO msg="in front of http://127.0.0.1:1/api" methods=PUT,POST key=required on-crash=rerun retention=72h ` +
		"store=memory:\n"
	check.True(t, strings.Contains(errs, want), "no %s in %s", want, errs)
	dir := filepath.Join(t.TempDir(), "data")
	_, _, errs = run("proxy", "--to", "http://127.0.0.1:1", "--scope", "none", "--listen", "127.0.0.1:0", "--store", dir)
	want = "methods=POST,PATCH key=optional on-crash=hold retention=24h store=" + dir + "\n"
	check.True(t, strings.Contains(errs, want), "no %s in %s", want, errs)
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "7B": 7, "64KiB": 64 << 10, "16MiB": 16 << 20, "1GiB": 1 << 30} {
		got, err := size(text)
		check.NoError(t, err, "%s", text)
		check.Equal(t, got, want, "%s", text)
	}
}
