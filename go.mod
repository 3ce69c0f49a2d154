module github.com/onceward/onceward

go 1.25.0
