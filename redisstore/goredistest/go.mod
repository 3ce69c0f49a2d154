module github.com/onceward/onceward/redisstore/goredistest

go 1.25.0

require (
	github.com/onceward/onceward v0.0.0
	github.com/onceward/onceward/redisstore v0.0.0
	github.com/redis/go-redis/v9 v9.22.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/redis/rueidis v1.0.79 // indirect
	go.uber.org/atomic v1.11.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace (
	github.com/onceward/onceward => ../..
	github.com/onceward/onceward/redisstore => ..
)
