package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/onceward/onceward/driver"
	"github.com/onceward/onceward/redisstore"
)

// keyOf is a key as clients send it.
func keyOf(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

// plainID costs nothing to make, because a client with few allocations is what is looked for.
func plainID(n int) (id driver.ID) {
	binary.BigEndian.PutUint64(id[:], uint64(n))
	return id
}

func openRedisstore(cached bool) redisClient {
	return func(ctx context.Context, addr string) (freshAndReplay, func(), error) {
		client, err := newRueidis(addr)
		if err != nil {
			return nil, nil, err
		}
		o := storeOptions()
		o.CacheCompleted = cached
		s, err := redisstore.New(client, o)
		if err != nil {
			client.Close()
			return nil, nil, err
		}
		end := func() {
			s.Close()
			client.Close()
		}
		return &pairs{ctx, s, plainID, theClaim()}, end, nil
	}
}

func newRueidis(addr string) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true})
}

// storeOptions expect nothing of a Redis without a disk, and say nothing about it.
func storeOptions() *redisstore.Options {
	return &redisstore.Options{BestEffort: true, Logger: slog.New(slog.DiscardHandler)}
}

// openFromEval has the function that the documentation of redisstore shows.
func openFromEval(ctx context.Context, addr string) (freshAndReplay, func(), error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	eval := func(ctx context.Context, script string, keys []string, args ...any) (any, error) {
		return redis.NewScript(script).Run(ctx, client, keys, args...).Result()
	}
	s, err := redisstore.NewFromEval(eval, storeOptions())
	if err != nil {
		_ = client.Close()
		return nil, nil, err
	}
	end := func() {
		s.Close()
		_ = client.Close()
	}
	return &pairs{ctx, s, plainID, theClaim()}, end, nil
}

func openNaive(ctx context.Context, addr string) (freshAndReplay, func(), error) {
	client := redis.NewClient(&redis.Options{Addr: addr})
	return &naivePairs{ctx, naive{client}}, func() { _ = client.Close() }, nil
}

type naivePairs struct {
	ctx   context.Context //nolint:containedctx // that of all its calls
	naive naive
}

func (p *naivePairs) fresh(n int) error {
	worked := false
	_, err := p.naive.once(p.ctx, keyOf(n), func() ([]byte, error) {
		worked = true
		return theAnswer, nil
	})
	if err == nil && !worked {
		err = fmt.Errorf("the fresh key %d is done", n)
	}
	return err
}

func (p *naivePairs) replay(n int) error {
	result, err := p.naive.once(p.ctx, keyOf(n), func() ([]byte, error) {
		return nil, fmt.Errorf("the done key %d is fresh", n)
	})
	if err == nil && len(result) != len(theAnswer) {
		err = fmt.Errorf("the done key %d has an answer of %d bytes", n, len(result))
	}
	return err
}

// ceilingPairs are the least that takes a key and keeps an outcome: two round trips, and no owner, fence, lease or
// fingerprint.
type ceilingPairs struct {
	ctx    context.Context //nolint:containedctx // that of all its calls
	client rueidis.Client
}

func openCeiling(ctx context.Context, addr string) (freshAndReplay, func(), error) {
	client, err := newRueidis(addr)
	if err != nil {
		return nil, nil, err
	}
	return &ceilingPairs{ctx, client}, client.Close, nil
}

func (p *ceilingPairs) fresh(n int) error {
	key := keyOf(n)
	take := p.client.B().Set().Key(key).Value("running").Nx().Ex(resultStays).Build()
	if err := p.client.Do(p.ctx, take).Error(); err != nil {
		return fmt.Errorf("the fresh key %d: %w", n, err) // nil when it is taken
	}
	keep := p.client.B().Set().Key(key).Value(rueidis.BinaryString(theAnswer)).Ex(resultStays).Build()
	return p.client.Do(p.ctx, keep).Error()
}

func (p *ceilingPairs) replay(n int) error {
	result, err := p.client.Do(p.ctx, p.client.B().Get().Key(keyOf(n)).Build()).ToString()
	if err == nil && len(result) != len(theAnswer) {
		err = fmt.Errorf("the done key %d has an answer of %d bytes", n, len(result))
	}
	return err
}
