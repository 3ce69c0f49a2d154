package redisstore

import (
	"testing"

	"github.com/onceward/onceward/internal/faults"
	"github.com/onceward/onceward/internal/testsvc"
)

func openNamespace(addr, namespace string) (faults.Store, error) {
	return Open("redis://"+addr, &Options{Namespace: namespace, Logger: quiet})
}

func TestConformanceWithLostReplies(t *testing.T) {
	t.Parallel() // as TestConformance
	faults.Conformance(t, testsvc.Redis(t), openNamespace, 2*unit)
}

func TestLateRequestsAndLostReplies(t *testing.T) {
	faults.LateAndLost(t, testsvc.Redis(t), openNamespace, 3000)
}

func TestWinnerWhoseReplyWasLost(t *testing.T) {
	faults.LostGrant(t, testsvc.Redis(t), openNamespace)
}

// With the append-only file synced always nothing that was acknowledged is lost.
func TestKilledServer(t *testing.T) {
	faults.Kill(t, testsvc.Redis(t), openNamespace, 4000)
}
