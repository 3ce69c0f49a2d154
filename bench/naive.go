package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"
)

// naive is the algorithm that most articles teach, in four round trips: is there a result, take a lock, work, keep the
// result, drop the lock. It runs things twice when a lock expires, and when a result comes between the first two steps.
type naive struct{ client *redis.Client }

const (
	resultStays = 24 * time.Hour
	lockStays   = 10 * time.Second
)

var errLocked = errors.New("somebody else works on it") // the articles wait for 100 ms and begin again

// once returns what is kept, or works and keeps that.
func (n naive) once(ctx context.Context, key string, work func() ([]byte, error)) (result []byte, err error) {
	exists, err := n.client.Exists(ctx, key).Result()
	if err != nil {
		return nil, err
	}
	if exists == 1 {
		return n.client.Get(ctx, key).Bytes()
	}
	lock := "lock:" + key
	if err := n.client.SetArgs(ctx, lock, "1", redis.SetArgs{Mode: "NX", TTL: lockStays}).Err(); err != nil {
		if errors.Is(err, redis.Nil) {
			err = errLocked
		}
		return nil, err
	}
	if result, err = work(); err != nil {
		return nil, err
	}
	if err := n.client.Set(ctx, key, result, resultStays).Err(); err != nil {
		return nil, err
	}
	return result, n.client.Del(ctx, lock).Err()
}

// serveNaive does the work of pay. As taught, the status and the header are not kept but known.
func serveNaive(l net.Listener, to string) error {
	n := naive{redis.NewClient(&redis.Options{Addr: to})}
	return serveHTTP(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := n.once(r.Context(), r.Header.Get("Idempotency-Key"), func() ([]byte, error) {
			runs.Add(1)
			_, err := io.Copy(io.Discard, r.Body)
			return receipt, err
		})
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Location", "/payments/1")
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write(body)
	}))
}
