package redisstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/internal/check"
	"github.com/onceward/onceward/internal/testsvc"
)

func TestAddresses(t *testing.T) {
	for address, want := range map[string]struct {
		hosts  string
		master string
		db     int
		user   string
		tls    bool
	}{
		"redis://localhost":                             {hosts: "localhost:6379"},
		"redis://localhost/":                            {hosts: "localhost:6379"},
		"redis://u:p%40@h:1/3":                          {hosts: "h:1", db: 3, user: "u:p@"},
		"redis://u:%2F%40%3A%25%3F@h?db=3":              {hosts: "h:6379", db: 3, user: "u:/@:%?"},
		"redis://[::1]/1":                               {hosts: "[::1]:6379", db: 1},
		"rediss://h":                                    {hosts: "h:6379", tls: true},
		"unix:///run/redis.sock?db=2":                   {hosts: "/run/redis.sock", db: 2},
		"unix://u:p@/run/redis.sock":                    {hosts: "/run/redis.sock", user: "u:p"},
		"redis+sentinel://u:p@a,b:1,[::1]/main?db=1":    {hosts: "a:26379,b:1,[::1]:26379", master: "main", db: 1, user: "u:p"},
		"rediss+cluster://a:1,b":                        {hosts: "a:1,b:6379", tls: true},
		"redis+sentinel://a/main?sentinel_user=watcher": {hosts: "a:26379", master: "main"},
	} {
		o, err := parse(address)
		check.NoError(t, err, "%s", address)
		check.Equal(t, strings.Join(o.InitAddress, ","), want.hosts, "hosts of %s", address)
		check.Equal(t, o.Sentinel.MasterSet, want.master, "master of %s", address)
		check.Equal(t, o.SelectDB, want.db, "database of %s", address)
		check.Equal(t, strings.Trim(o.Username+":"+o.Password, ":"), want.user, "user of %s", address)
		check.Equal(t, o.TLSConfig != nil, want.tls, "TLS of %s", address)
	}
}

// Of what is wrong nothing is passed over, and nothing is shown that may be a password.
func TestWrongAddresses(t *testing.T) {
	for address, says := range map[string]string{
		"": "is no URL", "localhost:6379": "is no URL", "://h": "is no URL",
		"http://h": "unknown scheme", "redis+nothing://u:secret@h": "unknown scheme",
		"redis://": "HOST:PORT", "redis://h:abc": "HOST:PORT", "redis://h:99999": "HOST:PORT", "redis+cluster://h1:1,": "HOST:PORT",
		"redis+sentinel://h:1:3/m": "HOST:PORT", "redis:///3": "HOST:PORT",
		"redis://user:secret@a,b": "several hosts",
		"redis://user:secret@h/x": "number", "redis://h/-1": "number", "redis://h?db=": "number", "redis+sentinel://u:secret@a/m?db=x": "number",
		"redis://h/1?db=2": "named twice", "redis://h?db=1&db=2": `"db"`,
		"redis+cluster://h/3": "only one database", "redis+cluster://h?db=3": "only one database",
		"redis+sentinel://user:secret@a": "the master is not named", "redis+sentinel://h/main/3": "the master is not named",
		"redis://h?DB=3": `"DB"`, "rediss://h?skip_verify": `"skip_verify"`, "redis://h?addr=h2:1": `"addr"`,
		"redis+cluster://h?password=secret": `"password"`,
		"redis://h/1#2":                     "is no URL", "unix://": "socket", "unix://h/run/redis.sock": "socket",

		"redis://user:secret%@h": "escaped", "redis://user:12/secret@h/0": "escaped", "redis://user:12?secret@h/0": "escaped",
		"redis://user:12#secret@h/0": "escaped", "redis://user:12@secret@h/0": "escaped", "redis://secret@h/x": "number",
		"redis+sentinel://h?sentinel_password=secret": "the master", "redis+sentinel://h/m?sentinel_password=secret&db=x": "number",
		"redis+sentinel://h/m?sentinel_password=12&secret": "known are",
	} {
		_, err := parse(address)
		check.True(t, err != nil, "%q is taken", address)
		check.True(t, strings.Contains(err.Error(), says), "the error of %q does not say %q: %v", address, says, err)
		check.True(t, !strings.Contains(err.Error(), "secret") && !strings.Contains(err.Error(), "12"), "the error shows the password: %v", err)
	}
}

// A connection that was not made has carried nothing.
func TestConnectionsThatAreNotMade(t *testing.T) {
	config := &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}
	untrusted := listener(t, func(conn net.Conn) { _ = tls.Server(conn, config).Handshake() })
	plain := listener(t, func(conn net.Conn) { _, _ = conn.Write([]byte("-ERR Protocol error\r\n")) })
	for address, what := range map[string]string{
		"rediss://" + plain:     "a server without TLS",
		"rediss://" + untrusted: "a certificate that nobody knows",
		strings.Replace(testsvc.SharedRedis(t).URL, "redis://", "redis://nobody:password@", 1): "a user that there is not",
	} {
		_, err := Open(address, &Options{Logger: quiet})
		check.ErrorIs(t, err, driver.ErrUnavailable, "%s, at the start", what)
		option, err := parse(address)
		check.NoError(t, err, "%s", address)
		_, err = rueidis.NewClient(option)
		check.ErrorIs(t, new(Store).failure(err), driver.ErrUnavailable, "%s, of a call that had to connect", what)
	}
}

// listener serves connections one after the other and closes them.
func listener(t *testing.T, serve func(net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check.NoError(t, err, "listening")
	var serving sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	serving.Go(func() {
		for conn, err := l.Accept(); err == nil; conn, err = l.Accept() {
			serve(conn)
			_ = conn.Close()
		}
	})
	return l.Addr().String()
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check.NoError(t, err, "a key")
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	check.NoError(t, err, "a certificate")
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
