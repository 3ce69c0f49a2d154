package redisstore

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Open returns a store on a client of its own, which Close ends. The URL is one of
//
//	redis://user:password@host:6379/0            rediss:// with TLS
//	unix://user:password@/path/to/redis.sock?db=0
//	redis+sentinel://user:password@host1:26379,host2:26379/master?db=0
//	redis+cluster://user:password@host1:6379,host2:6379
//
// and rediss+sentinel or rediss+cluster with TLS. The sentinels may have sentinel_user and sentinel_password. A server
// that cannot be used is an error, as for [New]. Errors do not show the password.
func Open(address string, o *Options) (*Store, error) {
	option, err := parse(address)
	if err != nil {
		return nil, err
	}
	client, err := rueidis.NewClient(option)
	if err != nil {
		if client != nil {
			client.Close()
		}
		return nil, (&Store{}).failure(err)
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

func parse(address string) (option rueidis.ClientOption, err error) {
	first, others := cutHosts(address)
	u, err := url.Parse(first)
	if err != nil {
		// The error of url.Parse shows the whole address.
		return option, errors.New("redisstore: the address is no URL: characters such as / @ : % in a password have to be escaped")
	}
	switch u.Scheme {
	case "redis", "rediss", "unix":
		if len(others) > 0 {
			return option, fmt.Errorf("redisstore: %s is one of several hosts: use redis+sentinel or redis+cluster", u.Redacted())
		}
		option, err = rueidis.ParseURL(first)
		option.ForceSingleClient = option.Sentinel.MasterSet == ""
	case "redis+sentinel", "rediss+sentinel":
		option, err = parseMany(u, others, "26379")
		if err == nil {
			err = addSentinel(&option, u)
		}
	case "redis+cluster", "rediss+cluster":
		option, err = parseMany(u, others, "6379")
	default:
		err = errors.New("unknown scheme: use redis, rediss, unix, redis+sentinel, redis+cluster")
	}
	if err != nil {
		return option, fmt.Errorf("redisstore: %s: %w", u.Redacted(), err)
	}
	option.ClientName = cmp.Or(option.ClientName, "onceward")
	return option, nil
}

// cutHosts leaves the first host in the address, because an URL has one only.
func cutHosts(address string) (first string, others []string) {
	scheme, rest, _ := strings.Cut(address, "://")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	begin := strings.LastIndex(rest[:end], "@") + 1
	hosts := strings.Split(rest[begin:end], ",")
	return scheme + "://" + rest[:begin] + hosts[0] + rest[end:], hosts[1:]
}

// parseMany reads the address of several servers.
func parseMany(u *url.URL, others []string, port string) (option rueidis.ClientOption, err error) {
	for _, host := range append([]string{u.Host}, others...) {
		if _, _, err := net.SplitHostPort(host); err != nil {
			host = net.JoinHostPort(strings.Trim(host, "[]"), port)
		}
		option.InitAddress = append(option.InitAddress, host)
	}
	if strings.HasPrefix(u.Scheme, "rediss") {
		option.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	option.Username = u.User.Username()
	option.Password, _ = u.User.Password()
	if db := u.Query().Get("db"); db != "" {
		option.SelectDB, err = strconv.Atoi(db)
	}
	return option, err
}

func addSentinel(option *rueidis.ClientOption, u *url.URL) error {
	s := &option.Sentinel
	s.MasterSet = strings.Trim(u.Path, "/")
	if s.MasterSet == "" {
		return errors.New("the master is not named: add /NAME as in the configuration of the sentinels")
	}
	s.TLSConfig = option.TLSConfig
	s.Username, s.Password = u.Query().Get("sentinel_user"), u.Query().Get("sentinel_password")
	s.TopologyRefreshInterval = 5 * time.Second // else one missed message binds the client to the old master for ever
	return nil
}
