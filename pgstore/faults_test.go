package pgstore

import (
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/faults"
	"github.com/onceward/onceward/internal/testsvc"
)

// opener opens stores in schemas of the server.
func opener(server *testsvc.Server) faults.Open {
	return func(addr, namespace string) (faults.Store, error) {
		o := &Options{Schema: namespace, Logger: quiet}
		if _, err := Migrate(bg, server.URL, Latest, o); err != nil {
			return nil, err
		}
		return Open(strings.Replace(server.URL, server.Addr, addr, 1), o)
	}
}

func TestConformanceWithLostReplies(t *testing.T) {
	t.Parallel() // as TestConformance
	server := testsvc.Postgres(t, "max_connections = 300")
	faults.Conformance(t, server, opener(server), unit)
}

func TestLateRequestsAndLostReplies(t *testing.T) {
	server := testsvc.Postgres(t)
	faults.LateAndLost(t, server, opener(server), 1000)
}

func TestWinnerWhoseReplyWasLost(t *testing.T) {
	server := testsvc.Postgres(t)
	faults.LostGrant(t, server, opener(server))
}

func TestKilledServer(t *testing.T) {
	server := testsvc.Postgres(t)
	faults.Kill(t, server, opener(server), 4000)
}
