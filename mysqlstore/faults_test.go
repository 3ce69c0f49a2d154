package mysqlstore

import (
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/faults"
	"github.com/onceward/onceward/internal/testsvc"
)

// opener opens stores on tables of the server.
func opener(server *testsvc.Server) faults.Open {
	return func(addr, namespace string) (faults.Store, error) {
		o := &Options{Prefix: namespace + "_", Logger: quiet}
		if _, err := Migrate(bg, server.URL, Latest, o); err != nil {
			return nil, err
		}
		return Open(strings.Replace(server.URL, server.Addr, addr, 1), o)
	}
}

func TestConformanceWithLostReplies(t *testing.T) {
	t.Parallel() // as TestConformance
	server := testsvc.MariaDB(t, "max_connections = 500", unsynced)
	faults.Conformance(t, server, opener(server), unit)
}

func TestLateRequestsAndLostReplies(t *testing.T) {
	server := testsvc.MariaDB(t)
	faults.LateAndLost(t, server, opener(server), 1000)
}

func TestWinnerWhoseReplyWasLost(t *testing.T) {
	server := testsvc.MariaDB(t)
	faults.LostGrant(t, server, opener(server))
}

func TestKilledServer(t *testing.T) {
	server := testsvc.MariaDB(t)
	faults.Kill(t, server, opener(server), 4000)
}
