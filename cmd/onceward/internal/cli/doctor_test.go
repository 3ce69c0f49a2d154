package cli

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
	"github.com/onceward/onceward/redisstore"
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
		{careful, nil, 0, []string{"Redis", "round trip", "clock", "made free", "durable"}},
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
	code, _, errs = operate(t, "doctor", "--store", testsvc.SharedMariaDB(t).URL+"?tx_isolation=%27READ-UNCOMMITTED%27")
	check.Equal(t, code, 1, "exit code where a read takes what is not committed")
	holds(t, errs, "the isolation READ-UNCOMMITTED", "set READ-COMMITTED")

	code, out, _ := operate(t, "doctor", "--json", "--store", careful)
	check.Equal(t, code, 0, "exit code")
	found := decoded[[]finding](t, out)
	check.True(t, len(found) >= 4 && found[0].Check == "store" && found[0].Safe, "the findings: %+v", found)
}

// A store that can be asked is not yet one that can be used.
func TestDoctorWrites(t *testing.T) {
	store := testsvc.Redis(t).URL
	code, out, errs := operate(t, "doctor", "--store", store)
	check.Equal(t, code, 0, "exit code, with %s%s", out, errs)
	_, out, _ = operate(t, "keys", "list", "--store", store)
	check.True(t, !strings.Contains(out, "onceward doctor"), "what it has begun runs still: %s", out)

	server := testsvc.Redis(t, "user poor on >secret ~onceward:* &onceward:* +@all -set", "maxmemory 1", "maxmemory-policy noeviction")
	poor := strings.Replace(server.URL, "redis://", "redis://poor:secret@", 1)
	for store, says := range map[string]string{server.URL: "maxmemory", poor: "rights"} {
		code, out, errs := operate(t, "doctor", "--best-effort", "--store", store)
		check.Equal(t, code, 1, "exit code for %s", store)
		holds(t, out, "refused", says, "none now")
		holds(t, errs, "cannot be used")
		check.True(t, !strings.Contains(out+errs, "secret"), "it shows the password: %s%s", out, errs)
	}
}

func TestDoctorComparesClocks(t *testing.T) {
	for ahead, want := range map[time.Duration]finding{
		0:            {"clock", "0s ahead of that of this machine, which does not matter", true},
		-time.Minute: {"clock", "1m0s behind that of this machine, which does not matter", true},
		61 * time.Second: {"doubt", "the clock of the server is 1m1s ahead of that of this machine; the step that puts it right ends " +
			"retentions early or late", false},
	} {
		check.Equal(t, compared(ahead), want, "%v ahead", ahead)
	}
	check.Equal(t, promised([]finding{compared(-time.Hour)}).Finding, bestEffort, "what is promised by a server whose clock is wrong")
}

// Who may not add to the trail resolves nevertheless, and is told.
func TestResolveWithoutTheRightsOfTheTrail(t *testing.T) {
	server := testsvc.Redis(t, "user poor on >secret ~onceward:* &onceward:* +@all -xadd")
	store, err := redisstore.Open(server.URL, &redisstore.Options{Logger: slog.New(slog.DiscardHandler)})
	check.NoError(t, err, "opening a store")
	defer store.Close()
	id, c := driver.ID{1}, driver.Claim{Owner: driver.Owner{1}, OnCrash: driver.Hold, Lease: 1, Retain: time.Hour, DoubtRetain: time.Hour}
	_, err = store.Acquire(t.Context(), id, c)
	check.NoError(t, err, "Acquire")
	check.NoError(t, store.Extend(t.Context(), id, c.Owner, driver.Extension{}), "giving up")
	poor := strings.Replace(server.URL, "redis://", "redis://poor:secret@", 1)
	code, _, errs := operate(t, "keys", "get", id.String(), "--store", poor)
	check.Equal(t, code, 0, "exit code of a look, which says %s", errs)
	check.Equal(t, errs, "", "what is said to who only looks")
	code, out, errs := operate(t, "keys", "resolve", id.String(), "--done", "--reason", "the bank has it", "--store", poor)
	check.Equal(t, code, 0, "exit code, with %s", errs)
	holds(t, out, "done")
	holds(t, errs, "not on the audit trail", "XADD")
}
