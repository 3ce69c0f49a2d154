package cli

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/onceward/onceward/internal/check"
)

func TestTakenPortIsAFailure(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	check.NoError(t, err, "a port")
	defer taken.Close()
	listen := taken.Addr().String()
	next := "127.0.0.1:" + strconv.Itoa(taken.Addr().(*net.TCPAddr).Port+1)
	want := "onceward: --listen " + listen + ": the port is in use: end what listens there (the demo?), or choose another, such as " +
		"--listen " + next + "\n"
	for _, command := range [][]string{{"demo"}, {"proxy", "--to", "http://127.0.0.1:1", "--scope", "none"}} {
		code, _, errs := run(append(command, "--listen", listen)...)
		check.Equal(t, code, 1, "exit code of %s", command[0])
		check.Equal(t, errs, want, "all that %s says", command[0])
	}
}

func TestForeignAddressIsAFailure(t *testing.T) {
	code, _, errs := run("demo", "--listen", "192.0.2.1:1") // an address that no machine has (RFC 5737)
	check.Equal(t, code, 1, "exit code")
	check.True(t, strings.Contains(errs, "--listen 192.0.2.1:1: "), "what it says: %s", errs)
}

func TestOpenPortIsTold(t *testing.T) {
	const warning = "all machines that reach this one can connect"
	for listen, open := range map[string]bool{":0": true, "0.0.0.0:0": true, "127.0.0.1:0": false, "localhost:0": false} {
		for _, command := range [][]string{{"demo"}, {"proxy", "--to", "http://127.0.0.1:1", "--scope", "none", "--store", "memory:"}} {
			_, _, errs := run(append(command, "--listen", listen)...)
			check.Equal(t, strings.Contains(errs, warning), open, "%s at %s: whether %q is in %s", command[0], listen, warning, errs)
		}
	}
}

func TestProxyInFrontOfItselfIsRefused(t *testing.T) {
	vacant, err := net.Listen("tcp", "127.0.0.1:0")
	check.NoError(t, err, "a port")
	listen := vacant.Addr().String()
	check.NoError(t, vacant.Close(), "that nobody listens on")
	code, _, errs := run("proxy", "--scope", "none", "--to", "http://"+listen+"/api", "--listen", listen)
	check.Equal(t, code, 2, "exit code")
	want := "--to and --listen are both " + listen + ": the proxy would call itself; give one of them another port\n"
	check.True(t, strings.HasPrefix(errs, "onceward: "+want), "what it says: %s", errs)
}

func TestCallsItself(t *testing.T) {
	for _, c := range [...]struct {
		to, listens string
		want        bool
	}{
		{"http://127.0.0.1:8080", "127.0.0.1:8080", true},
		{"http://127.0.0.1:8080", "127.0.0.1:8081", false},
		{"http://localhost:8080", "127.0.0.1:8080", true},
		{"http://LocalHost:8080", "[::1]:8080", true},
		{"http://[::1]:8080", "127.0.0.1:8080", true},
		{"http://[::ffff:127.0.0.1]:8080", "127.0.0.1:8080", true},
		{"http://0.0.0.0:8080", "127.0.0.1:8080", true},
		{"http://127.0.0.2:8080", "127.0.0.1:8080", false},
		{"http://127.0.0.2:8080", "[::]:8080", true},
		{"http://localhost:8080", "[::]:8080", true},
		{"http://localhost:8080", "0.0.0.0:8080", true},
		{"http://192.0.2.1:8080", "192.0.2.1:8080", true},
		{"http://192.0.2.1:8080", "[::]:8080", false},
		{"http://service:8080", "[::]:8080", false},
		{"http://localhost", "127.0.0.1:80", true},
		{"https://localhost", "127.0.0.1:443", true},
		{"https://localhost", "127.0.0.1:80", false},
	} {
		to, err := url.Parse(c.to)
		check.NoError(t, err, "%s", c.to)
		err = callsItself(to, netip.MustParseAddrPort(c.listens))
		check.Equal(t, err != nil, c.want, "%s behind %s: %v", c.to, c.listens, err)
	}
	own, err := net.InterfaceAddrs()
	check.NoError(t, err, "this machine's addresses")
	for _, a := range own {
		to := &url.URL{Scheme: "http", Host: net.JoinHostPort(a.(*net.IPNet).IP.String(), "8080")}
		check.True(t, callsItself(to, netip.MustParseAddrPort("[::]:8080")) != nil, "%s behind [::]:8080 is accepted", to)
	}
}
