package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// address reads where to listen.
func address(text string) (string, error) {
	_, port, err := net.SplitHostPort(text)
	if _, wrong := portNumber(port); err != nil || wrong != nil {
		return "", errors.New("want HOST:PORT, such as 127.0.0.1:8080, or 127.0.0.1:0 for any free port; 65535 is the last one")
	}
	return text, nil
}

func portNumber(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	return uint16(port), err
}

// loopback reads where to listen for this machine only.
func loopback(text string) (string, error) {
	text, err := address(text)
	if err != nil {
		return "", err
	}
	host, _, _ := net.SplitHostPort(text)
	if ip, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !ip.IsLoopback()) {
		return "", errors.New("want an address of this machine only, such as 127.0.0.1:9090: nobody is asked who they are there")
	}
	return text, nil
}

// bind opens the port that a flag names, before anything else is done or said.
func bind(ctx context.Context, flag, listen string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", listen)
	if errors.Is(err, syscall.EADDRINUSE) {
		host, text, _ := net.SplitHostPort(listen)
		port, _ := portNumber(text)
		next := max(port+1, 1024) // the first that needs no privilege; it also follows the last one
		return nil, fmt.Errorf("--%s %s: the port is in use: end what listens there (the demo?), or choose another, such as "+
			"--%s %s", flag, listen, flag, net.JoinHostPort(host, strconv.Itoa(int(next))))
	}
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", flag, listen, err)
	}
	return listener, nil
}

// warnIfOpen tells an operator whose port can be reached from elsewhere.
func warnIfOpen(log *slog.Logger, listener net.Listener) {
	if bound(listener).Addr().IsUnspecified() {
		log.Warn("all machines that reach this one can connect, and there is no TLS", "listen", listener.Addr().String())
	}
}

func bound(listener net.Listener) netip.AddrPort {
	at, _ := netip.ParseAddrPort(listener.Addr().String())
	return at
}

// callsItself finds out whether what is sent to the service would come back to the address where the proxy listens. A name
// other than localhost is not looked up: what it means may change at any time.
func callsItself(to *url.URL, listens netip.AddrPort) error {
	text := cmp.Or(to.Port(), map[string]string{"http": "80", "h2c": "80", "https": "443"}[to.Scheme])
	if port, err := portNumber(text); err != nil || port != listens.Port() {
		return nil //nolint:nilerr // the flag has refused what is no port
	}
	host := to.Hostname()
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil //nolint:nilerr // it is a name
	}
	everywhere := listens.Addr().IsUnspecified()
	if home(ip) == home(listens.Addr()) || everywhere && ownAddress(ip) {
		return fmt.Errorf("--to and --listen are both %s: the proxy would call itself; give one of them another port",
			net.JoinHostPort(to.Hostname(), text))
	}
	return nil
}

// home makes one address of those that lead to this machine under each name: localhost may be any of them.
func home(ip netip.Addr) netip.Addr {
	ip = ip.Unmap()
	if ip.IsUnspecified() || ip == netip.IPv6Loopback() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return ip
}

func ownAddress(ip netip.Addr) bool {
	own, _ := net.InterfaceAddrs() // what is not known is not refused
	return ip.Unmap().IsLoopback() || slices.ContainsFunc(own, func(a net.Addr) bool {
		network, ok := a.(*net.IPNet)
		return ok && network.IP.Equal(ip.AsSlice())
	})
}
