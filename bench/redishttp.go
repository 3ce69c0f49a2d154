package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/onceward/onceward"
	"github.com/onceward/onceward/oncehttp"
	"github.com/onceward/onceward/redisstore"
)

// redisHTTPTable is a guarded handler against one that does what is taught, each with a Redis of its own.
func redisHTTPTable(scratch string) *table {
	const fresh, replay = "naive handler, fresh", "naive handler, replay"
	onRedis := func(name string) starter {
		return func(profile string) (served, error) {
			redis, err := startRedis(scratch)
			if err != nil {
				return nil, err
			}
			front, err := startProcess(name, redis.addr, profile)
			if err != nil {
				return nil, errors.Join(err, redis.end())
			}
			return &chain{front, redis}, nil
		}
	}
	guarded, naive := onRedis("oncehttp on Redis"), onRedis("naive on Redis")
	return &table{
		name: "redis-http", title: fmt.Sprintf("HTTP over loopback with Redis, %d connections", connections), service: redisService,
		rows: []row{
			{name: fresh, sample: overHTTP(naive, false)},
			{name: "oncehttp on Redis, fresh", against: fresh, sample: overHTTP(guarded, false), targets: []target{speed(2)}},
			{name: replay, sample: overHTTP(naive, true)},
			{name: "oncehttp on Redis, replay", against: replay, sample: overHTTP(guarded, true)},
		},
	}
}

func serveOncehttpOnRedis(l net.Listener, to string) error {
	client, err := newRueidis(to)
	if err != nil {
		return err
	}
	store, err := redisstore.New(client, storeOptions())
	if err != nil {
		return err
	}
	guard, err := onceward.New(store, nil)
	if err != nil {
		return err
	}
	return serveHTTP(l, oncehttp.New(guard, oncehttp.SingleTenant, nil)(http.HandlerFunc(pay)))
}
