package redisstore

import (
	"context"
	"crypto/sha1" //nolint:gosec // Redis names scripts by it
	"encoding/hex"
	"fmt"
	"strconv"
	"time"
)

// Clock is the time by which the server judges leases. It is for people who compare logs.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	const text = "local now = redis.call('TIME')\nreturn {0, now[1], tonumber(now[2])}"
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see the import
	p, err := s.redis.eval(ctx, &script{text: text, sha: hex.EncodeToString(sum[:])}, s.noID())
	if err != nil {
		return time.Time{}, s.failure(err)
	}
	seconds, err := strconv.ParseInt(p.value, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("redisstore: TIME answers %q seconds: %w", p.value, err)
	}
	return time.Unix(seconds, p.left*int64(time.Microsecond)), nil
}
