package partitions

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// The hardware addresses of our end of the cable to an owner, of its end, and of nobody.
const (
	ours   = "02:00:00:00:00:01"
	theirs = "02:00:00:00:00:02"
	nobody = "02:00:00:00:00:03"
)

// namespaces says why there can be none here, or nil. It tries in one of its own, which goes with the program.
var namespaces = sync.OnceValue(func() error {
	if _, err := exec.LookPath("nsenter"); err != nil {
		return err
	}
	return runf("unshare --net ip link add here type veth peer name there")
})

// namespace is the network of an owner, which ends with its process: a cable to this process and nothing else. Packets are lost
// without a firewall, which few machines have the programs for: they go to a hardware address that nobody has.
type namespace struct {
	inside string // what to put before a command
	device string // our end of the cable; the other one is called store
	here   string // our address, where the owner finds its store
	there  string // the owner's
}

// newNamespace connects the process, which has a network namespace of its own, with target. Address is where it finds that.
func newNamespace(t testing.TB, pid int, target string) (n *namespace, address string, err error) {
	t.Helper()
	subnet := 4 * rand.IntN(1<<17/4) //nolint:gosec // of 198.18.0.0/15, which RFC 2544 gives to tests
	host := func(i int) string {
		return net.IPv4(198, byte(18+subnet>>16), byte(subnet>>8), byte(subnet+i)).String()
	}
	n = &namespace{
		inside: fmt.Sprintf("nsenter --target %d --net", pid), device: fmt.Sprintf("cut%d", pid), here: host(1), there: host(2),
	}
	t.Cleanup(func() { _ = runf("ip link delete %s", n.device) }) // if it has not gone with the owner
	for _, line := range []string{
		fmt.Sprintf("ip link add %s address %s type veth peer name store address %s netns %d", n.device, ours, theirs, pid),
		fmt.Sprintf("ip address add %s/30 dev %s", n.here, n.device),
		fmt.Sprintf("ip link set %s up", n.device),
		fmt.Sprintf("%s ip address add %s/30 dev store", n.inside, n.there),
		n.inside + " ip link set store up",
	} {
		if err := runf("%s", line); err != nil {
			return nil, "", err
		}
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(n.here, "0"))
	if err != nil {
		return nil, "", err
	}
	go relay(listener, target)
	t.Cleanup(func() { _ = listener.Close() })
	return n, listener.Addr().String(), nil
}

// relay hands on connections until the listener is closed.
func relay(listener net.Listener, target string) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer near.Close()
			far, err := net.Dial("tcp", target) //nolint:noctx // to the proxy beside us
			if err != nil {
				return
			}
			defer far.Close()
			go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
			_, _ = io.Copy(far, near)
		}()
	}
}

// cut loses packets. When it refuses, the owner is told at once that there is no way, as by REJECT; the rest is as by DROP.
func (n *namespace) cut(k kind) (heal func() error, err error) {
	if k == refuse {
		return func() error { return runf("%s ip route delete unreachable %s/32", n.inside, n.here) },
			runf("%s ip route add unreachable %s/32", n.inside, n.here)
	}
	send := func(requests, replies string) error {
		if k != deaf {
			if err := runf("%s ip neighbour replace %s lladdr %s dev store nud permanent", n.inside, n.here, requests); err != nil {
				return err
			}
		}
		if k == mute {
			return nil
		}
		return runf("ip neighbour replace %s lladdr %s dev %s nud permanent", n.there, replies, n.device)
	}
	return func() error { return send(ours, theirs) }, send(nobody, nobody)
}

// runf runs a command, whose words are separated by spaces.
func runf(format string, args ...any) error {
	line := fmt.Sprintf(format, args...)
	words := strings.Fields(line)
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput() //nolint:gosec,noctx // ours, and it does not wait for anything
	if err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, strings.TrimSpace(string(out)))
	}
	return nil
}
