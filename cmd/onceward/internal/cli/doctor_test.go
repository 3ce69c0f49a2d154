package cli

import (
	"testing"

	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

// data is a directory that a proxy has used.
func data(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	code, _, errs := run("proxy", "--to", "http://127.0.0.1:1", "--scope", "none", "--listen", "127.0.0.1:0", "--store", dir)
	check.Equal(t, code, 0, "exit code of the proxy, which says %s", errs)
	return dir
}

func TestDoctor(t *testing.T) {
	careful, evicting := testsvc.SharedRedis(t).URL, testsvc.Redis(t, "appendonly no", "maxmemory 64mb", "maxmemory-policy allkeys-lru").URL
	for _, c := range [...]struct {
		store string
		more  []string
		code  int
		says  []string
	}{
		{careful, nil, 0, []string{"Redis", "round trip", "clock", "durable"}},
		{evicting, nil, 1, []string{"allkeys-lru", "appendonly is no", "best effort"}},
		{evicting, []string{"--best-effort"}, 0, []string{"allkeys-lru", "best effort"}},
		{data(t), nil, 0, []string{"diskstore", "round trip", "durable"}},
	} {
		code, out, errs := operate(t, append([]string{"doctor", "--store", c.store}, c.more...)...)
		check.Equal(t, code, c.code, "exit code for %s, which says %s", c.store, errs)
		holds(t, out, c.says...)
	}
	code, _, errs := operate(t, "doctor", "--store", "redis://127.0.0.1:1")
	check.Equal(t, code, 1, "exit code where nobody listens")
	holds(t, errs, "--store redis://127.0.0.1:1", "no connection")
	code, _, errs = operate(t, "doctor", "--store", t.TempDir())
	check.Equal(t, code, 1, "exit code for an empty directory")
	holds(t, errs, "there is no data in")
	code, _, errs = operate(t, "doctor", "--store", "memory:")
	check.Equal(t, code, 2, "exit code for memory:")
	holds(t, errs, "memory:", "die with the process")

	code, out, _ := operate(t, "doctor", "--json", "--store", careful)
	check.Equal(t, code, 0, "exit code")
	found := decoded[[]finding](t, out)
	check.True(t, len(found) >= 4 && found[0].Check == "store" && found[0].Safe, "the findings: %+v", found)
}
