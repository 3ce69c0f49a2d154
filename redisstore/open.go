package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
)

// Open returns a store on a client of its own, which Close ends. The URL is one of
//
//	redis://user:password@host:6379/0            rediss:// with TLS
//	unix://user:password@/path/to/redis.sock?db=0
//	redis+sentinel://user:password@host1:26379,host2:26379/master?db=0
//	redis+cluster://user:password@host1:6379,host2:6379
//
// and rediss+sentinel or rediss+cluster with TLS. The number of the database can be in the path of the first two or in db,
// and the sentinels may have sentinel_user and sentinel_password. What is not listed here is an error, and so is a server
// that cannot be used, as for [New]. Errors show the scheme and the hosts of the URL.
func Open(address string, o *Options) (*Store, error) {
	option, err := parse(address)
	if err != nil {
		return nil, err
	}
	// Else every connection asks for a right that nothing needs.
	option.DisableCache = o == nil || !o.CacheCompleted
	client, err := rueidis.NewClient(option)
	if err != nil {
		if client != nil {
			client.Close()
		}
		return nil, unopened(err)
	}
	s, err := New(client, o)
	if err != nil {
		client.Close()
		return nil, err
	}
	waiting := s.close
	s.close = func() {
		waiting()
		client.Close()
	}
	return s, nil
}

// unopened is a failure of which it is known that nothing was asked before.
func unopened(err error) error {
	if errors.Is(err, driver.ErrUnavailable) {
		return err
	}
	if err := (&Store{}).failure(err); errors.Is(err, driver.ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: redisstore: no connection: %w", driver.ErrUnavailable, err)
}

// parse reads a URL. Nothing of it but the scheme and the hosts is shown, since anything else may be a password that was
// not escaped.
func parse(text string) (option rueidis.ClientOption, err error) {
	a, err := split(text)
	if err != nil {
		return option, fmt.Errorf("redisstore: %w", err)
	}
	option.ClientName = "onceward"
	option.Username = a.user.Username()
	option.Password, _ = a.user.Password()
	if strings.HasPrefix(a.scheme, "rediss") {
		option.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	switch a.scheme {
	case "redis", "rediss":
		err = a.toServer(&option)
	case "unix":
		err = a.toSocket(&option)
	case "redis+sentinel", "rediss+sentinel":
		err = a.toSentinels(&option)
	case "redis+cluster", "rediss+cluster":
		err = a.toCluster(&option)
	default:
		err = errors.New("unknown scheme: use redis, rediss, unix, redis+sentinel, redis+cluster")
	}
	if err != nil {
		return option, fmt.Errorf("redisstore: %s://%s: %w", a.scheme, strings.Join(a.hosts, ","), err)
	}
	return option, nil
}

// address is a URL that may have several hosts.
type address struct {
	scheme string
	user   *url.Userinfo
	hosts  []string
	path   string
	query  url.Values
}

var errNoURL = errors.New("the address is no URL such as redis://user:password@host:6379/0; in user and password, characters such as " +
	"/ ? # @ : % have to be escaped, as %2F %3F %23 %40 %3A %25")

func split(text string) (a address, err error) {
	scheme, rest, isURL := strings.Cut(text, "://")
	at := strings.LastIndex(rest, "@") + 1
	if strings.ContainsAny(rest[:max(0, at-1)], "/?#@") {
		return a, errNoURL
	}
	end := strings.IndexAny(rest[at:], "/?#")
	if end < 0 {
		end = len(rest) - at
	}
	hosts := rest[at:][:end]
	u, err := url.Parse(scheme + "://" + rest[:at] + "host" + rest[at+end:])
	if err != nil || !isURL || scheme == "" || u.Fragment != "" {
		return a, errNoURL // that of url.Parse shows the whole address
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return a, errNoURL
	}
	return address{scheme: scheme, user: u.User, hosts: strings.Split(hosts, ","), path: u.Path, query: query}, nil
}

func (a *address) toServer(option *rueidis.ClientOption) (err error) {
	option.ForceSingleClient = true
	if len(a.hosts) > 1 {
		return errors.New("these are several hosts: use redis+sentinel or redis+cluster")
	}
	if option.InitAddress, err = a.addresses("6379"); err != nil {
		return err
	}
	if number := strings.Trim(a.path, "/"); number != "" {
		if a.query.Has("db") {
			return errors.New("the database is named twice: leave out /NUMBER or db")
		}
		a.query.Set("db", number)
	}
	option.SelectDB, err = a.database("db")
	return err
}

func (a *address) toSocket(option *rueidis.ClientOption) (err error) {
	option.ForceSingleClient = true
	if a.path == "" || a.hosts[0] != "" {
		return errors.New("the path of the socket is not there: as in unix:///run/redis.sock?db=0")
	}
	option.InitAddress = []string{a.path}
	option.DialCtxFn = func(ctx context.Context, path string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", path)
	}
	option.SelectDB, err = a.database("db")
	return err
}

func (a *address) toSentinels(option *rueidis.ClientOption) (err error) {
	s := &option.Sentinel
	s.MasterSet = strings.Trim(a.path, "/")
	if s.MasterSet == "" || strings.Contains(s.MasterSet, "/") {
		return errors.New("the master is not named: add /NAME as in the configuration of the sentinels")
	}
	s.TLSConfig = option.TLSConfig
	s.Username, s.Password = a.query.Get("sentinel_user"), a.query.Get("sentinel_password")
	s.TopologyRefreshInterval = 5 * time.Second // else one missed message binds the client to the old master for ever
	if option.InitAddress, err = a.addresses("26379"); err != nil {
		return err
	}
	option.SelectDB, err = a.database("db", "sentinel_user", "sentinel_password")
	return err
}

func (a *address) toCluster(option *rueidis.ClientOption) (err error) {
	if strings.Trim(a.path, "/") != "" || a.query.Has("db") {
		return errors.New("a Cluster has only one database: leave out its number")
	}
	if option.InitAddress, err = a.addresses("6379"); err != nil {
		return err
	}
	_, err = a.database()
	return err
}

func (a *address) addresses(port string) (all []string, err error) {
	for _, host := range a.hosts {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		name, number, _ := net.SplitHostPort(host)
		_, notIP := netip.ParseAddr(name)
		_, wrong := strconv.ParseUint(number, 10, 16)
		if name == "" || strings.Contains(name, ":") && notIP != nil || wrong != nil {
			return nil, errors.New("a host is not HOST or HOST:PORT")
		}
		all = append(all, host)
	}
	return all, nil
}

// database reads db. Parameters that are not known here are an error, because a mistyped one would be passed over: two
// services that are to have a database each would then share keys.
func (a *address) database(known ...string) (int, error) {
	for _, name := range slices.Sorted(maps.Keys(a.query)) {
		switch {
		case slices.Contains(known, name) && len(a.query[name]) == 1:
		case a.query.Has("sentinel_password"): // the name may be the rest of one that has an &
			return 0, fmt.Errorf("a parameter is unknown, or there twice; known are: %s", strings.Join(known, ", "))
		default:
			return 0, fmt.Errorf("the parameter %q is unknown here, or there twice; known are: %s", name, strings.Join(known, ", "))
		}
	}
	number := a.query.Get("db")
	if number == "" && !a.query.Has("db") {
		return 0, nil
	}
	db, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return 0, errors.New("the database is not a number from 0")
	}
	return int(db), nil
}
