module github.com/onceward/onceward/redisstore

go 1.25.0

require (
	github.com/onceward/onceward v0.0.0
	github.com/redis/rueidis v1.0.79
)

require golang.org/x/sys v0.47.0 // indirect

replace github.com/onceward/onceward => ..
